import type { BlockFile, WriteStage } from "../block-file.ts";
import { ByreError } from "../errors.ts";
import type { Need } from "./needs.ts";
import { viewOf } from "./u64.ts";

/** Longest piece of a table that is kept as one: a whole L2 table of the usual 64 KiB clusters. */
const MAX_SLICE_BYTES = 64 * 1024;

/**
 * Memory for slices of L2 tables and refcount blocks. 16 MiB of L2 reach 128 GiB of disk at 64 KiB clusters;
 * the least recently used slice goes first.
 */
const CACHE_BYTES = 16 * 1024 * 1024;

/** A piece of an on-disk table, in memory. Change it only through `TableCache.write`. */
export interface TableSlice {
  readonly offsetBytes: number;
  readonly bytes: Uint8Array;
  readonly view: DataView;
}

/**
 * L2 tables and refcount blocks in memory, by slices, written through: the file always has what is here, so
 * a slice can be dropped at any time.
 */
export class TableCache {
  readonly sliceBytes: number;
  private readonly slices = new Map<number, TableSlice>();
  private readonly maxSlices: number;

  constructor(
    private readonly file: BlockFile,
    clusterSizeBytes: number,
  ) {
    this.sliceBytes = Math.min(clusterSizeBytes, MAX_SLICE_BYTES);
    this.maxSlices = Math.max(8, Math.floor(CACHE_BYTES / this.sliceBytes));
  }

  /**
   * The slice that holds a byte of the file.
   *
   * @param what for messages: "L2 table", "refcount block".
   * @returns undefined after noting a need, when it is not in memory.
   * @throws ByreError TRUNCATED when the file ends before it.
   */
  get(offsetBytes: number, what: string, needs: Need[]): TableSlice | undefined {
    const start = offsetBytes - (offsetBytes % this.sliceBytes);
    const found = this.slices.get(start);
    if (found) {
      // Map keeps insertion order: out and in again makes it the most recently used.
      this.slices.delete(start);
      this.slices.set(start, found);
      return found;
    }
    if (start + this.sliceBytes > this.file.sizeBytes)
      throw new ByreError(
        "TRUNCATED",
        `${this.file.name}: the ${what} at offset ${start} lies past the end of the file, which has ` +
          `${this.file.sizeBytes} bytes. The file is cut short or damaged.`,
        { file: this.file.name, offsetBytes: start, sizeBytes: this.file.sizeBytes },
      );
    const bytes = new Uint8Array(this.sliceBytes);
    if (!this.file.readNow(start, bytes)) {
      needs.push(() => this.file.load(start, this.sliceBytes));
      return undefined;
    }
    const slice = { offsetBytes: start, bytes, view: viewOf(bytes) };
    this.slices.set(start, slice);
    if (this.slices.size > this.maxSlices) {
      const oldest = this.slices.keys().next();
      if (!oldest.done) this.slices.delete(oldest.value);
    }
    return slice;
  }

  /** Notes a need when these bytes of a table cannot be written now. */
  checkWritable(offsetBytes: number, lengthBytes: number, needs: Need[]): void {
    if (!this.file.canWriteNow(offsetBytes, lengthBytes))
      needs.push(() => this.file.load(offsetBytes, lengthBytes));
  }

  /** Writes bytes of a slice, already changed in memory, through to the file. */
  writeThrough(slice: TableSlice, startBytes: number, endBytes: number, stage: WriteStage): void {
    this.file.write(slice.offsetBytes + startBytes, slice.bytes.subarray(startBytes, endBytes), stage);
  }

  /** Forgets everything: the file was changed around it. */
  clear(): void {
    this.slices.clear();
  }

  /** Forgets what is kept of a range: its clusters have become something else. */
  forget(offsetBytes: number, lengthBytes: number): void {
    for (let start = offsetBytes; start < offsetBytes + lengthBytes; start += this.sliceBytes)
      this.slices.delete(start);
  }
}
