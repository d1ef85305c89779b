import type { BlockFile } from "../block-file.ts";
import { ByreError } from "../errors.ts";
import { ENTRY_BYTES, HeaderField, MAX_REFCOUNT_TABLE_BYTES, SECTOR_BYTES } from "./format.ts";
import { parseHeader, type Qcow2Header } from "./header.ts";
import { decodeTableOffset, encodeCompressedEntry, encodeCopiedEntry } from "./l2-entry.ts";
import { maxRefcount, refcountsPerBlock, writeRefcount } from "./refcount-entry.ts";
import { viewOf, writeU64 } from "./u64.ts";

/** Where a builder writes: at once, in any order. Nothing needs to be durable before the builder is finished. */
export type BulkSink = (offsetBytes: number, bytes: Uint8Array) => void;

/** Sizes of clusters other than compressed ones, as `addClusters` takes them. */
export const BulkSize = { ZERO: 0, PLAIN: -1 } as const;

/** Small writes are gathered up to this: the kernel takes a large one at memory's speed. */
const GATHER_BYTES = 1024 * 1024;

/** Counts are kept in 16 bits while an image is built, whatever its own width. */
const MAX_COUNT = 65535;

/**
 * Fills a new, empty image from its first cluster to its last, several times as fast as the device can: data
 * is laid one after the other, each table is written once. Where clusters are put is as QEMU puts them when
 * it writes the same disk in the same order.
 *
 * Until `finish` the image on disk is the empty one that `createQcow2` made; so a crash leaves that.
 */
export class BulkBuilder {
  private readonly clusterSizeBytes: number;
  private readonly l2Entries: number;
  private readonly maxCount: number;
  private readonly countsPerBlock: number;
  /** Host offsets of the refcount blocks, in the order of what they count. */
  private readonly blocks: number[];
  private counts: Uint16Array<ArrayBuffer>;
  private nextCluster: number;
  /** Where the next compressed data may go on; 0 when it must begin a cluster. */
  private packedCursor = 0;
  private l2: { readonly l1Index: number; readonly offsetBytes: number; readonly view: DataView } | undefined;
  private readonly l1Entries: { readonly index: number; readonly offsetBytes: number }[] = [];
  private readonly gathered = new Uint8Array(GATHER_BYTES);
  private gatheredAt = 0;
  private gatheredBytes = 0;
  private endBytes: number;
  private lastGuestCluster = -1;

  private constructor(
    private readonly header: Qcow2Header,
    private readonly refcountTable: Uint8Array,
    fileBytes: number,
    private readonly fileName: string,
    private readonly sink: BulkSink,
  ) {
    this.clusterSizeBytes = header.clusterSizeBytes;
    this.l2Entries = this.clusterSizeBytes / ENTRY_BYTES;
    this.countsPerBlock = refcountsPerBlock(this.clusterSizeBytes, header.refcountOrder);
    this.maxCount = Math.min(MAX_COUNT, maxRefcount(header.refcountOrder));
    this.nextCluster = Math.ceil(fileBytes / this.clusterSizeBytes);
    this.endBytes = this.nextCluster * this.clusterSizeBytes;
    this.counts = new Uint16Array(Math.max(1024, 2 * this.nextCluster)).fill(1, 0, this.nextCluster);
    this.blocks = blocksIn(refcountTable);
  }

  /**
   * @param file an image just made by `createQcow2`, with nothing preallocated and no extended L2 entries.
   *   Read here only.
   * @param sink takes what is written to the same file.
   * @throws ByreError INVALID_ARGUMENT for another image, and what reading the file meets.
   */
  static async open(file: BlockFile, sink: BulkSink): Promise<BulkBuilder> {
    const start = new Uint8Array(Math.min(file.sizeBytes, 2 * 1024 * 1024));
    await file.read(0, start);
    const header = parseHeader(start, file.name);
    const table = new Uint8Array(header.refcountTableClusters * header.clusterSizeBytes);
    await file.read(header.refcountTableOffsetBytes, table);
    const builder = new BulkBuilder(header, table, file.sizeBytes, file.name, sink);
    const extended = (header.incompatibleFeatures & 0b10111n) !== 0n || header.cryptMethod !== 0;
    if (
      extended ||
      header.snapshotCount > 0 ||
      builder.blocks.length * builder.countsPerBlock < builder.nextCluster
    )
      throw new ByreError(
        "INVALID_ARGUMENT",
        `${file.name}: only a new, plain and empty image is built in bulk.`,
        {
          file: file.name,
        },
      );
    return builder;
  }

  /**
   * Lays down clusters that follow each other on the disk. Calls go from the disk's start to its end.
   *
   * @param guestCluster the first one's index on the disk.
   * @param sizes for each `BulkSize.ZERO`, `BulkSize.PLAIN`, or the length of its compressed data in bytes.
   * @param bytes what is not zeros, one after the other.
   * @throws ByreError TOO_LARGE, and what the sink throws.
   */
  addClusters(guestCluster: number, sizes: ArrayLike<number>, bytes: Uint8Array): void {
    if (guestCluster <= this.lastGuestCluster)
      throw new ByreError("INVALID_ARGUMENT", `${this.fileName}: clusters are built in the disk's order.`);
    this.lastGuestCluster = guestCluster + sizes.length - 1;
    let at = 0;
    for (let i = 0; i < sizes.length; i++) {
      const size = sizes[i] ?? 0;
      if (size === BulkSize.ZERO) continue;
      const l2 = this.tableOf(guestCluster + i);
      const length = size === BulkSize.PLAIN ? this.clusterSizeBytes : size;
      const data = bytes.subarray(at, at + length);
      at += length;
      const hostOffset = size === BulkSize.PLAIN ? this.takeCluster() : this.takePacked(length);
      const { hi, lo } =
        size === BulkSize.PLAIN
          ? encodeCopiedEntry(hostOffset)
          : encodeCompressedEntry(hostOffset, length, this.header.clusterBits);
      const entryAt = ((guestCluster + i) % this.l2Entries) * ENTRY_BYTES;
      l2.view.setUint32(entryAt, hi);
      l2.view.setUint32(entryAt + 4, lo);
      this.write(hostOffset, data);
    }
  }

  /**
   * Writes the tables, the header's pointers last: after it the image holds what was added.
   *
   * @returns the file's length in bytes, which the caller sets.
   * @throws ByreError TOO_LARGE, and what the sink throws.
   */
  finish(): number {
    this.writeL2();
    const table = this.writeRefcounts();
    for (const { index, offsetBytes } of this.l1Entries) {
      const entry = new Uint8Array(ENTRY_BYTES);
      const { hi, lo } = encodeCopiedEntry(offsetBytes);
      viewOf(entry).setUint32(0, hi);
      viewOf(entry).setUint32(4, lo);
      this.write(this.header.l1OffsetBytes + index * ENTRY_BYTES, entry);
    }
    if (table) {
      const fields = new Uint8Array(12);
      writeU64(viewOf(fields), 0, table.offsetBytes);
      viewOf(fields).setUint32(8, table.clusters);
      this.write(HeaderField.REFCOUNT_TABLE_OFFSET, fields);
    }
    this.writeGathered();
    return Math.ceil(this.endBytes / SECTOR_BYTES) * SECTOR_BYTES;
  }

  private tableOf(guestCluster: number): { readonly view: DataView } {
    const l1Index = Math.floor(guestCluster / this.l2Entries);
    if (this.l2?.l1Index === l1Index) return this.l2;
    this.writeL2();
    const offsetBytes = this.takeCluster();
    this.l1Entries.push({ index: l1Index, offsetBytes });
    this.l2 = { l1Index, offsetBytes, view: new DataView(new ArrayBuffer(this.clusterSizeBytes)) };
    return this.l2;
  }

  private writeL2(): void {
    if (!this.l2) return;
    this.write(this.l2.offsetBytes, new Uint8Array(this.l2.view.buffer));
    this.l2 = undefined;
  }

  /** A free cluster, counted once. A refcount block for it, when there is none yet, takes one before it. */
  private takeCluster(): number {
    const index = this.findCluster();
    this.count(index);
    return index * this.clusterSizeBytes;
  }

  private findCluster(): number {
    if (this.nextCluster >= this.blocks.length * this.countsPerBlock) {
      this.blocks.push(this.nextCluster * this.clusterSizeBytes);
      this.count(this.nextCluster++);
    }
    return this.nextCluster++;
  }

  private count(index: number): void {
    if (index >= this.counts.length) {
      const longer = new Uint16Array(2 * index);
      longer.set(this.counts);
      this.counts = longer;
    }
    this.counts[index] = (this.counts[index] ?? 0) + 1;
    this.endBytes = Math.max(this.endBytes, (index + 1) * this.clusterSizeBytes);
  }

  /** Room for compressed data: it goes on where the last ended, into the next cluster if that follows. */
  private takePacked(length: number): number {
    const { clusterSizeBytes } = this;
    let offset = this.packedCursor;
    const cursorCluster = Math.floor(offset / clusterSizeBytes);
    if (offset > 0 && (this.counts[cursorCluster] ?? 0) >= this.maxCount) offset = 0;
    const room = clusterSizeBytes - (offset % clusterSizeBytes);
    if (offset === 0 || room < length) {
      const index = this.findCluster();
      if (offset === 0 || index !== cursorCluster + 1) offset = index * clusterSizeBytes;
    }
    const last = Math.floor((offset + length - 1) / clusterSizeBytes);
    const endBefore = this.endBytes;
    for (let index = Math.floor(offset / clusterSizeBytes); index <= last; index++) this.count(index);
    this.packedCursor = (offset + length) % clusterSizeBytes === 0 ? 0 : offset + length;
    // The last cluster need not be there whole; a reader asks for whole sectors.
    this.endBytes = Math.max(endBefore, offset + length);
    return offset;
  }

  /** @returns the refcount table, where it had to become longer and so moved. */
  private writeRefcounts(): { offsetBytes: number; clusters: number } | undefined {
    const { clusterSizeBytes, header } = this;
    let moved: { offsetBytes: number; clusters: number } | undefined;
    if (this.blocks.length * ENTRY_BYTES > this.refcountTable.length) {
      // Room for the blocks that count the table itself, too.
      let clusters = Math.ceil(((this.blocks.length + 1) * ENTRY_BYTES) / clusterSizeBytes);
      const blocksNeeded = Math.ceil((this.nextCluster + clusters + 1) / this.countsPerBlock) + 1;
      clusters = Math.ceil((blocksNeeded * ENTRY_BYTES) / clusterSizeBytes);
      if (clusters * clusterSizeBytes > Math.max(MAX_REFCOUNT_TABLE_BYTES, clusterSizeBytes))
        throw new ByreError(
          "TOO_LARGE",
          `${this.fileName} is full: its refcount table would be larger than 8 MiB. Larger clusters reach further.`,
          { file: this.fileName },
        );
      // Blocks may come between single clusters; a table must be in one piece.
      while (this.nextCluster + clusters > this.blocks.length * this.countsPerBlock) {
        this.blocks.push(this.nextCluster * clusterSizeBytes);
        this.count(this.nextCluster++);
      }
      moved = { offsetBytes: this.nextCluster * clusterSizeBytes, clusters };
      for (let i = 0; i < clusters; i++) this.count(this.nextCluster++);
      const oldFirst = header.refcountTableOffsetBytes / clusterSizeBytes;
      this.counts.fill(0, oldFirst, oldFirst + header.refcountTableClusters);
    }
    const table = new Uint8Array(moved ? moved.clusters * clusterSizeBytes : this.refcountTable.length);
    const view = viewOf(table);
    for (const [blockIndex, offsetBytes] of this.blocks.entries()) {
      writeU64(view, blockIndex * ENTRY_BYTES, offsetBytes);
      const block = new Uint8Array(clusterSizeBytes);
      const first = blockIndex * this.countsPerBlock;
      const end = Math.min(this.countsPerBlock, this.nextCluster - first);
      for (let i = 0; i < end; i++) {
        const value = this.counts[first + i] ?? 0;
        if (value > 0) writeRefcount(block, i, header.refcountOrder, value);
      }
      this.write(offsetBytes, block);
    }
    this.write(moved?.offsetBytes ?? header.refcountTableOffsetBytes, table);
    return moved;
  }

  private write(offsetBytes: number, bytes: Uint8Array): void {
    if (
      offsetBytes !== this.gatheredAt + this.gatheredBytes ||
      this.gatheredBytes + bytes.length > GATHER_BYTES
    ) {
      this.writeGathered();
      this.gatheredAt = offsetBytes;
    }
    if (bytes.length > GATHER_BYTES) {
      this.sink(offsetBytes, bytes);
      this.gatheredAt = offsetBytes + bytes.length;
      return;
    }
    this.gathered.set(bytes, this.gatheredBytes);
    this.gatheredBytes += bytes.length;
  }

  private writeGathered(): void {
    if (this.gatheredBytes > 0) this.sink(this.gatheredAt, this.gathered.subarray(0, this.gatheredBytes));
    this.gatheredBytes = 0;
  }
}

function blocksIn(refcountTable: Uint8Array): number[] {
  const view = viewOf(refcountTable);
  const blocks: number[] = [];
  for (let at = 0; at < refcountTable.length; at += ENTRY_BYTES) {
    const offset = decodeTableOffset(view.getUint32(at), view.getUint32(at + 4));
    if (offset === 0) break;
    blocks.push(offset);
  }
  return blocks;
}
