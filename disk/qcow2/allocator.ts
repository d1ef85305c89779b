import { WriteStage } from "../block-file.ts";
import { ByreError } from "../errors.ts";
import { ENTRY_BYTES } from "./format.ts";
import type { Qcow2Image } from "./image.ts";
import { decodeTableOffset } from "./l2-entry.ts";
import type { Need } from "./needs.ts";
import {
  maxRefcount,
  readRefcount,
  refcountBytes,
  refcountsPerBlock,
  writeRefcount,
} from "./refcount-entry.ts";
import { fitRefcounts, isTableTooLong } from "./refcount-layout.ts";
import type { TableSlice } from "./table-cache.ts";
import { bytesOf, splitU64, viewOf, writeU64 } from "./u64.ts";

/** Refcount table entries hold the block's offset from bit 9 up. */
const RESERVED_LO_MASK = 0x1ff;

/** Cluster index -> by how much its count changes. */
export type CountChanges = ReadonlyMap<number, number>;

/**
 * Host clusters: which are free, and how often each is used.
 *
 * On a file with transactions a cluster's count falls at once. On one without, a count must not fall on disk
 * before the tables that let go of the cluster are there, nor may the cluster be used again: it waits in
 * `pendingFrees` until `flush` has made the tables durable.
 */
export class Allocator {
  /** Below it no cluster is free. */
  private firstMaybeFree = 0;
  /** Cluster index -> how many references to drop once the tables are durable. */
  private pendingFrees = new Map<number, number>();

  /** @param whenFreed is told of each cluster whose count has fallen to 0. */
  constructor(
    private readonly image: Qcow2Image,
    private readonly whenFreed: (index: number) => void,
  ) {}

  /** Clusters a refcount block counts. */
  private get countsPerBlock(): number {
    return refcountsPerBlock(this.image.clusterSizeBytes, this.image.refcountOrder);
  }

  /**
   * Finds free clusters, lowest first. Changes no count; may grow the refcount structures, which is a whole
   * operation of its own.
   *
   * @param contiguous one after the other, for a table of several clusters.
   * @returns `count` cluster indexes, or undefined after noting needs.
   * @throws ByreError TOO_LARGE when the format has no room left, CORRUPT when the counts are damaged.
   */
  findFree(count: number, needs: Need[], contiguous = false): number[] | undefined {
    const found: number[] = [];
    let index = this.firstMaybeFree;
    while (found.length < count) {
      const needsBefore = needs.length;
      let counts = this.countsOf(index, needs);
      if (!counts && needs.length === needsBefore) {
        const regionEnd = index - (index % this.countsPerBlock) + this.countsPerBlock;
        if (index === 0) throw this.uncounted(0);
        if (regionEnd <= this.endOfFileIndex) {
          // Nothing counts what the file has here: what a crash left behind, or a damaged refcount table.
          // Either way it is not known to be free.
          const lastRegion = this.endOfFileIndex - (this.endOfFileIndex % this.countsPerBlock);
          index = this.isInTable(regionEnd) ? regionEnd : Math.max(regionEnd, lastRegion);
          continue;
        }
        counts = this.grow(index, contiguous ? count : 1, needs);
      }
      if (!counts) return undefined;
      const { slice, firstIndex, endIndex } = counts;
      for (; index < endIndex && found.length < count; index++)
        if (readRefcount(slice.bytes, index - firstIndex, this.image.refcountOrder) === 0) {
          if (contiguous && found.length > 0 && found.at(-1) !== index - 1) found.length = 0;
          found.push(index);
        }
    }
    // What was passed over for a run may still do for single clusters.
    if (!contiguous) this.firstMaybeFree = found[0] ?? this.firstMaybeFree;
    for (const cluster of found) this.checkNotMetadata(cluster);
    return found;
  }

  /** Index past the last cluster in use, or undefined after noting a need. */
  findEnd(needs: Need[]): number | undefined {
    if (this.pendingFrees.size > 0) return this.endOfFileIndex;
    for (let index = this.endOfFileIndex - 1; index >= 0; ) {
      const needsBefore = needs.length;
      const counts = this.countsOf(index, needs);
      if (!counts && needs.length > needsBefore) return undefined;
      // What nothing counts is not known to be free.
      if (!counts) return index + 1;
      for (; index >= counts.firstIndex; index--)
        if (readRefcount(counts.slice.bytes, index - counts.firstIndex, this.image.refcountOrder) > 0)
          return index + 1;
    }
    return 1;
  }

  /** Everything may be free again: the counts were changed in bulk. */
  forgetCounts(): void {
    this.firstMaybeFree = 0;
  }

  /**
   * Holds changes of counts against what is there, before an operation makes them. Notes a need for every
   * count that cannot be read and written now.
   *
   * @throws ByreError CORRUPT when a count would fall below 0 or grow past the image's width.
   */
  check(changes: CountChanges, needs: Need[]): void {
    const { tables, refcountOrder } = this.image;
    for (const [index, change] of changes) {
      const needsBefore = needs.length;
      const counts = this.countsOf(index, needs);
      if (!counts) {
        if (needs.length === needsBefore) throw this.uncounted(index);
        continue;
      }
      const inSlice = index - counts.firstIndex;
      const value = readRefcount(counts.slice.bytes, inSlice, refcountOrder);
      const { start, end } = refcountBytes(inSlice, refcountOrder);
      const after = value - (this.pendingFrees.get(index) ?? 0) + change;
      if (after < 0 || after > maxRefcount(refcountOrder))
        throw this.image.corrupt(
          `the refcount of cluster ${index} is ${value}, and would become ${after}`,
          counts.slice.offsetBytes + start,
        );
      tables.checkWritable(counts.slice.offsetBytes + start, end - start, needs);
    }
  }

  /** Makes the changes. `check` must have been clear in this turn. Falls may wait: see the class. */
  apply(changes: CountChanges): void {
    for (const [index, change] of changes)
      if (change < 0 && !this.image.file.transactional)
        this.pendingFrees.set(index, (this.pendingFrees.get(index) ?? 0) - change);
      else this.add(index, change);
  }

  /** Whether one more reference to the cluster fits the image's refcount width. */
  canShare(index: number, needs: Need[]): boolean | undefined {
    const counts = this.countsOf(index, needs);
    if (!counts) return undefined;
    const value = readRefcount(counts.slice.bytes, index - counts.firstIndex, this.image.refcountOrder);
    return value > 0 && value < maxRefcount(this.image.refcountOrder);
  }

  /**
   * Holds a cluster in reserve past the end of the file against its count: it must be this image's own.
   *
   * @throws ByreError CORRUPT when it is not counted once.
   */
  checkReserve(index: number, needs: Need[]): void {
    const needsBefore = needs.length;
    const counts = this.countsOf(index, needs);
    if (!counts && needs.length > needsBefore) return;
    if (!counts) throw this.uncounted(index);
    const value = readRefcount(counts.slice.bytes, index - counts.firstIndex, this.image.refcountOrder);
    if (value === 1) return;
    throw this.image.corrupt(
      `cluster ${index} is held in reserve past the end of the file, and its refcount is ${value}`,
      counts.slice.offsetBytes,
    );
  }

  /** Takes the waiting frees out, before the flush that makes their tables durable. */
  takePendingFrees(): CountChanges {
    const frees = new Map<number, number>();
    for (const [index, references] of this.pendingFrees) frees.set(index, -references);
    this.pendingFrees = new Map();
    return frees;
  }

  /** Undoes `takePendingFrees`: the flush failed. */
  putBackPendingFrees(frees: CountChanges): void {
    for (const [index, change] of frees)
      this.pendingFrees.set(index, (this.pendingFrees.get(index) ?? 0) - change);
  }

  /**
   * Lets go of clusters whose tables are durable now.
   *
   * @returns true when done, undefined after noting needs (nothing has changed then).
   */
  tryFree(frees: CountChanges, needs: Need[]): true | undefined {
    this.check(frees, needs);
    if (needs.length > 0) return undefined;
    for (const [index, change] of frees) this.add(index, change);
    return true;
  }

  private add(index: number, change: number): void {
    const { tables, refcountOrder, clusterSizeBytes } = this.image;
    const counts = this.countsOf(index, []);
    if (!counts) throw this.uncounted(index);
    const inSlice = index - counts.firstIndex;
    const value = readRefcount(counts.slice.bytes, inSlice, refcountOrder) + change;
    writeRefcount(counts.slice.bytes, inSlice, refcountOrder, value);
    const { start, end } = refcountBytes(inSlice, refcountOrder);
    tables.writeThrough(counts.slice, start, end, WriteStage.REFCOUNT_BLOCK);
    if (value > 0) return;
    this.firstMaybeFree = Math.min(this.firstMaybeFree, index);
    // What was a table here must not be taken for one when the cluster is used again.
    tables.forget(index * clusterSizeBytes, clusterSizeBytes);
    this.whenFreed(index);
  }

  /**
   * The slice of counts that covers a cluster.
   *
   * @returns undefined when no refcount block covers it, or after noting a need.
   */
  private countsOf(
    index: number,
    needs: Need[],
  ): { slice: TableSlice; firstIndex: number; endIndex: number } | undefined {
    const { image } = this;
    const blockIndex = Math.floor(index / this.countsPerBlock);
    const entryBytes = blockIndex * ENTRY_BYTES;
    if (entryBytes >= image.refcountTable.byteLength) return undefined;
    const lo = image.refcountTable.getUint32(entryBytes + 4);
    const blockOffset = decodeTableOffset(image.refcountTable.getUint32(entryBytes), lo);
    const entryOffset = image.refcountTableOffsetBytes + entryBytes;
    if (lo & RESERVED_LO_MASK)
      throw image.corrupt("a refcount table entry has reserved bits set", entryOffset);
    if (blockOffset === 0) return undefined;
    image.checkClusterOffset(blockOffset, "refcount table entry", entryOffset);
    const countsPerSlice = this.countsPerBlock / (image.clusterSizeBytes / image.tables.sliceBytes);
    const sliceIndex = Math.floor(index / countsPerSlice);
    const inBlock = sliceIndex % (image.clusterSizeBytes / image.tables.sliceBytes);
    const slice = image.tables.get(blockOffset + inBlock * image.tables.sliceBytes, "refcount block", needs);
    if (!slice) return undefined;
    const firstIndex = sliceIndex * countsPerSlice;
    return { slice, firstIndex, endIndex: firstIndex + countsPerSlice };
  }

  /** Makes `count` clusters from `index` on countable, where no refcount block is yet, one after the other. */
  private grow(
    index: number,
    count: number,
    needs: Need[],
  ): { slice: TableSlice; firstIndex: number; endIndex: number } | undefined {
    if (needs.length > 0) return undefined;
    const { image } = this;
    const firstIndex = index - (index % this.countsPerBlock);
    if ((firstIndex + this.countsPerBlock) * image.clusterSizeBytes > Number.MAX_SAFE_INTEGER)
      throw new ByreError("TOO_LARGE", `${image.file.name} would grow past 2^53 bytes.`, {
        file: image.file.name,
      });
    // A run that is longer than one block's reach needs its blocks before it, not in it.
    const startIndex = Math.max(firstIndex, this.endOfFileIndex);
    let blocks = 1;
    while (firstIndex + blocks * this.countsPerBlock < startIndex + blocks + count && count > 1) blocks++;
    const last = firstIndex + (blocks - 1) * this.countsPerBlock;
    const grown = this.isInTable(last)
      ? this.addBlocks(firstIndex, startIndex, blocks, needs)
      : this.growTable(firstIndex, startIndex, count, needs);
    if (!grown) return undefined;
    return this.countsOf(index, needs);
  }

  /** Whether the refcount table has an entry for a cluster's region. */
  private isInTable(index: number): boolean {
    return Math.floor(index / this.countsPerBlock) * ENTRY_BYTES < this.image.refcountTable.byteLength;
  }

  /** Index of the first cluster wholly past the end of the file. */
  private get endOfFileIndex(): number {
    return Math.ceil(this.image.file.sizeBytes / this.image.clusterSizeBytes);
  }

  /**
   * New refcount blocks, placed from the first cluster they count that is past the end of the file. What the
   * file has before that, uncounted until now, is counted as used: a leak at worst, never overwritten.
   */
  private addBlocks(firstIndex: number, startIndex: number, blocks: number, needs: Need[]): boolean {
    const { image } = this;
    const { clusterSizeBytes } = image;
    const entryBytes = (firstIndex / this.countsPerBlock) * ENTRY_BYTES;
    const offsetBytes = startIndex * clusterSizeBytes;
    image.tables.checkWritable(image.refcountTableOffsetBytes + entryBytes, blocks * ENTRY_BYTES, needs);
    image.tables.checkWritable(offsetBytes, blocks * clusterSizeBytes, needs);
    if (needs.length > 0) return false;
    const content = this.countedAsUsed(startIndex - firstIndex + blocks, blocks * clusterSizeBytes);
    image.tables.forget(offsetBytes, content.length);
    image.file.write(offsetBytes, content, WriteStage.REFCOUNT_BLOCK);
    const entries = new Uint8Array(blocks * ENTRY_BYTES);
    for (let block = 0; block < blocks; block++) {
      const blockOffset = offsetBytes + block * clusterSizeBytes;
      const { hi, lo } = splitU64(blockOffset);
      image.refcountTable.setUint32(entryBytes + block * ENTRY_BYTES, hi);
      image.refcountTable.setUint32(entryBytes + block * ENTRY_BYTES + 4, lo);
      writeU64(viewOf(entries), block * ENTRY_BYTES, blockOffset);
      image.metadata.set(startIndex + block, "refcount block");
    }
    image.file.write(image.refcountTableOffsetBytes + entryBytes, entries, WriteStage.REFCOUNT_TABLE);
    return true;
  }

  /** Refcount blocks, one after the other, that count their first clusters once. */
  private countedAsUsed(clusters: number, lengthBytes: number): Uint8Array<ArrayBuffer> {
    const { clusterSizeBytes, refcountOrder } = this.image;
    const content = new Uint8Array(lengthBytes);
    for (let i = 0; i < clusters; i++) {
      const at = Math.floor(i / this.countsPerBlock) * clusterSizeBytes;
      writeRefcount(content.subarray(at, at + clusterSizeBytes), i % this.countsPerBlock, refcountOrder, 1);
    }
    return content;
  }

  /**
   * A longer refcount table. It and the blocks that count from `firstIndex` on, which nothing counts yet, are
   * laid past the end of the file; then the header points to it and the old table is let go.
   */
  private growTable(firstIndex: number, startIndex: number, count: number, needs: Need[]): boolean {
    const { image } = this;
    const { clusterSizeBytes } = image;
    const oldBytes = image.refcountTable.byteLength;
    const { blocks, tableClusters } = fitRefcounts(
      startIndex + count,
      { clusterSizeBytes, countsPerBlock: this.countsPerBlock },
      // Half as much again, as QEMU does, so that growing stays rare; more where that does not reach.
      { fromCluster: firstIndex, tableClusters: Math.ceil((oldBytes * 1.5) / clusterSizeBytes) },
    );
    if (isTableTooLong(tableClusters, clusterSizeBytes))
      throw new ByreError(
        "TOO_LARGE",
        `${image.file.name} is full: its refcount table would be larger than 8 MiB. Larger clusters reach further.`,
        { file: image.file.name },
      );

    const oldClusters = oldBytes / clusterSizeBytes;
    const oldFirst = image.refcountTableOffsetBytes / clusterSizeBytes;
    const oldIndexes = Array.from({ length: oldClusters }, (_, i) => oldFirst + i);
    const letGo = new Map(oldIndexes.map((oldIndex) => [oldIndex, -1]));
    this.check(letGo, needs);
    image.tables.checkWritable(0, clusterSizeBytes, needs);
    const startBytes = startIndex * clusterSizeBytes;
    const lengthBytes = (blocks + tableClusters) * clusterSizeBytes;
    image.tables.checkWritable(startBytes, lengthBytes, needs);
    if (needs.length > 0) return false;

    const content = this.countedAsUsed(startIndex - firstIndex + blocks + tableClusters, lengthBytes);
    const table = content.slice(blocks * clusterSizeBytes);
    table.set(bytesOf(image.refcountTable));
    for (let block = 0; block < blocks; block++)
      writeU64(
        viewOf(table),
        (firstIndex / this.countsPerBlock + block) * ENTRY_BYTES,
        startBytes + block * clusterSizeBytes,
      );
    content.set(table, blocks * clusterSizeBytes);
    image.tables.forget(startBytes, lengthBytes);
    image.file.write(startBytes, content, WriteStage.REFCOUNT_BLOCK);
    image.setRefcountTable(table, startBytes + blocks * clusterSizeBytes);
    this.apply(letGo);
    // L2 entries written from now on may use clusters that only the new table counts, and within one flush
    // the header goes last: so on a file without transactions the new table must be on disk first.
    image.requireBarrier();
    return image.passBarrier(needs);
  }

  /** @throws ByreError CORRUPT when the counts say free of a cluster that holds the image's structures. */
  private checkNotMetadata(index: number): void {
    const { image } = this;
    const what = image.metadata.get(index);
    if (what === undefined) return;
    throw image.corrupt(
      `preventing invalid allocation of a cluster in use (its refcount is 0, yet it holds the ${what})`,
      index * image.clusterSizeBytes,
    );
  }

  private uncounted(index: number): ByreError {
    return this.image.corrupt(
      `cluster ${index} is used but no refcount block counts it`,
      this.image.refcountTableOffsetBytes,
    );
  }
}
