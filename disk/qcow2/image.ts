import { type BlockFile, WriteStage } from "../block-file.ts";
import { ByreError } from "../errors.ts";
import { ENTRY_BYTES, HeaderField } from "./format.ts";
import type { Qcow2Header } from "./header.ts";
import type { Need } from "./needs.ts";
import { TableCache } from "./table-cache.ts";
import { viewOf, writeU64 } from "./u64.ts";

/**
 * An open qcow2 file: its header and first-level tables whole in memory, second-level tables through a
 * cache. What the reader, the writer and the allocator share.
 */
export class Qcow2Image {
  readonly clusterBits: number;
  readonly clusterSizeBytes: number;
  readonly refcountOrder: number;
  readonly tables: TableCache;
  /** The active L1 table, kept equal to the file. */
  readonly l1: DataView;
  readonly l1OffsetBytes: number;
  /** The refcount table, kept equal to the file. Growth replaces it. */
  refcountTable: DataView;
  refcountTableOffsetBytes: number;
  private barrier = false;

  /**
   * @param l1 content of the active L1 table.
   * @param refcountTable content of the refcount table.
   */
  constructor(
    readonly file: BlockFile,
    readonly header: Qcow2Header,
    l1: Uint8Array,
    refcountTable: Uint8Array,
  ) {
    this.clusterBits = header.clusterBits;
    this.clusterSizeBytes = header.clusterSizeBytes;
    this.refcountOrder = header.refcountOrder;
    this.tables = new TableCache(file, header.clusterSizeBytes);
    this.l1 = viewOf(l1);
    this.l1OffsetBytes = header.l1OffsetBytes;
    this.refcountTable = viewOf(refcountTable);
    this.refcountTableOffsetBytes = header.refcountTableOffsetBytes;
  }

  /** Zero clusters exist from version 3 on. */
  get hasZeroClusters(): boolean {
    return this.header.version >= 3;
  }

  /** Entries of one L2 table. */
  get l2Entries(): number {
    return this.clusterSizeBytes / ENTRY_BYTES;
  }

  /** Sets an L1 entry, in memory and in the file. `canSetL1` must have been asked in this turn. */
  setL1(index: number, hi: number, lo: number): void {
    this.l1.setUint32(index * ENTRY_BYTES, hi);
    this.l1.setUint32(index * ENTRY_BYTES + 4, lo);
    const entry = new Uint8Array(this.l1.buffer, this.l1.byteOffset + index * ENTRY_BYTES, ENTRY_BYTES);
    this.file.write(this.l1OffsetBytes + index * ENTRY_BYTES, entry, WriteStage.L1);
  }

  canSetL1(index: number, needs: Need[]): void {
    this.tables.checkWritable(this.l1OffsetBytes + index * ENTRY_BYTES, ENTRY_BYTES, needs);
  }

  /**
   * On a file without transactions: nothing further may be written until what has been is on disk. For
   * header changes that later writes rely on, since one flush writes the header last.
   */
  requireBarrier(): void {
    this.barrier = !this.file.transactional;
  }

  /** Whether no barrier stands; notes the need to flush when one does. */
  passBarrier(needs: Need[]): boolean {
    if (!this.barrier) return true;
    needs.push(async () => {
      await this.file.flush();
      this.barrier = false;
    });
    return false;
  }

  /** Writes a 64-bit header field. */
  setHeaderU64(fieldBytes: number, value: number): void {
    const bytes = new Uint8Array(8);
    writeU64(viewOf(bytes), 0, value);
    this.file.write(fieldBytes, bytes, WriteStage.HEADER);
  }

  /** Points the header at a refcount table; both fields in one write. */
  setRefcountTable(table: Uint8Array, offsetBytes: number): void {
    const bytes = new Uint8Array(12);
    writeU64(viewOf(bytes), 0, offsetBytes);
    viewOf(bytes).setUint32(8, table.length / this.clusterSizeBytes);
    this.file.write(HeaderField.REFCOUNT_TABLE_OFFSET, bytes, WriteStage.HEADER);
    this.refcountTable = viewOf(table);
    this.refcountTableOffsetBytes = offsetBytes;
  }

  /** An error about this image at a place in its file. */
  corrupt(what: string, offsetBytes: number, cause?: unknown): ByreError {
    return new ByreError(
      "CORRUPT",
      `${this.file.name}: ${what} (offset ${offsetBytes}). Check it with qemu-img check.`,
      { file: this.file.name, offsetBytes },
      cause,
    );
  }

  /**
   * Holds a host offset from a table against the format.
   *
   * @param what whose offset it is, for the message.
   * @param entryOffsetBytes where the entry stands.
   * @throws ByreError CORRUPT when it is not a cluster's start; TRUNCATED when it is past the file's end.
   */
  checkClusterOffset(offsetBytes: number, what: string, entryOffsetBytes: number): void {
    if (offsetBytes % this.clusterSizeBytes !== 0 || offsetBytes === 0)
      throw this.corrupt(
        `the ${what} points to ${offsetBytes}, which is not a cluster's start`,
        entryOffsetBytes,
      );
    if (offsetBytes >= this.file.sizeBytes)
      throw new ByreError(
        "TRUNCATED",
        `${this.file.name}: the ${what} at offset ${entryOffsetBytes} points to ${offsetBytes}, past the end of ` +
          `the file, which has ${this.file.sizeBytes} bytes. The file is cut short or damaged.`,
        { file: this.file.name, offsetBytes: entryOffsetBytes, sizeBytes: this.file.sizeBytes },
      );
  }
}
