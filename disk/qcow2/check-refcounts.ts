import { ClusterCounts } from "./check-counts.ts";
import { type CheckedImage, MAX_FILE_BYTES, readPadded } from "./check-image.ts";
import { hex64 } from "./check-tally.ts";
import { ENTRY_BYTES } from "./format.ts";
import { readRefcount, refcountsPerBlock } from "./refcount-entry.ts";
import { viewOf } from "./u64.ts";

/** The refcounts as the image stores them. */
export interface StoredCounts {
  readonly counts: ClusterCounts;
  /** Messages about refcount blocks that cannot be used, as QEMU's, for the report. */
  readonly complaints: readonly string[];
  /** The count of any cluster, also past those in `counts`; NaN when it cannot be read. */
  countOf(cluster: number): number;
  /** A count in decimal, also one past the safe integers. */
  print(cluster: number, count: number): string;
}

const TWO_32 = 2 ** 32;
/** Blocks read with one read, where they stand next to each other. */
const READ_BYTES = 1024 * 1024;
/** Bytes of refcount blocks for clusters past the end of the file that are looked at; sound images have none. */
const MAX_FAR_BYTES = 16 * 1024 * 1024;

/** Counts past the safe integers that are kept exactly, for messages. */
const MAX_HUGE = 1000;

/** Clusters that a refcount block counts. */
export function countsPerBlock(image: CheckedImage): number {
  return refcountsPerBlock(image.clusterSizeBytes, image.header.refcountOrder);
}

/** Entries of the refcount table. */
export function refcountTableEntries(image: CheckedImage): number {
  return image.refcountTable.byteLength / ENTRY_BYTES;
}

/** The offset in an entry of the refcount table, without reserved bits; 0 when there is no block. */
export function refcountBlockOffset(image: CheckedImage, index: number): number {
  const at = index * ENTRY_BYTES;
  return (
    image.refcountTable.getUint32(at) * TWO_32 + ((image.refcountTable.getUint32(at + 4) & 0xfffffe00) >>> 0)
  );
}

/** Whether the entry's offset is no cluster's start. */
export function isUnalignedBlock(image: CheckedImage, index: number): boolean {
  const lo = image.refcountTable.getUint32(index * ENTRY_BYTES + 4) & 0xfffffe00;
  return (lo & (image.clusterSizeBytes - 1)) !== 0;
}

/**
 * Reads the stored refcounts of all clusters of the file.
 *
 * @param clusters how many clusters the file has.
 */
export async function readStoredCounts(image: CheckedImage, clusters: number): Promise<StoredCounts> {
  const perBlock = countsPerBlock(image);
  const order = image.header.refcountOrder;
  const tableEntries = refcountTableEntries(image);
  const blocks = Math.min(tableEntries, Math.ceil((clusters + 1) / perBlock));
  const counts = new ClusterCounts(blocks * perBlock);
  const complaints: string[] = [];
  const huge = new Map<number, bigint>();
  const { clusterSizeBytes } = image;
  const buffer = new Uint8Array(Math.max(READ_BYTES, clusterSizeBytes));
  let bufferAt = -1;
  let bufferEnd = -1;
  for (let index = 0; index < blocks; index++) {
    const offset = refcountBlockOffset(image, index);
    if (offset === 0) continue;
    const first = index * perBlock;
    const unaligned = isUnalignedBlock(image, index);
    if (unaligned || offset + clusterSizeBytes > MAX_FILE_BYTES) {
      if (unaligned) complaints.push(unalignedBlock(image, index));
      const end = Math.min(first + perBlock, clusters + 1);
      for (let cluster = first; cluster < end; cluster++) counts.set(cluster, Number.NaN);
      continue;
    }
    if (offset >= image.file.sizeBytes) continue;
    if (offset < bufferAt || offset + clusterSizeBytes > bufferEnd) {
      // Blocks that a growing image made together stand together.
      let bytes = clusterSizeBytes;
      while (
        bytes + clusterSizeBytes <= buffer.length &&
        index + bytes / clusterSizeBytes < blocks &&
        refcountBlockOffset(image, index + bytes / clusterSizeBytes) === offset + bytes
      )
        bytes += clusterSizeBytes;
      await readPadded(image.file, offset, buffer.subarray(0, bytes));
      bufferAt = offset;
      bufferEnd = offset + bytes;
    }
    const block = buffer.subarray(offset - bufferAt, offset - bufferAt + clusterSizeBytes);
    putCounts(counts, block, order, first, perBlock, huge);
  }
  const far = await readFarBlocks(image, blocks);
  return {
    counts,
    complaints: complaints.slice(0, 1),
    print: (cluster, count) => (Number.isFinite(count) ? count : (huge.get(cluster) ?? count)).toString(),
    countOf(cluster) {
      if (cluster < blocks * perBlock) return counts.get(cluster);
      const index = Math.floor(cluster / perBlock);
      if (index >= tableEntries) return 0;
      const offset = refcountBlockOffset(image, index);
      if (offset === 0) return 0;
      if (isUnalignedBlock(image, index) || offset + clusterSizeBytes > MAX_FILE_BYTES) return Number.NaN;
      const block = far.get(offset);
      return block ? readRefcount(block, cluster % perBlock, order) : 0;
    },
  };
}

function putCounts(
  counts: ClusterCounts,
  block: Uint8Array,
  order: number,
  first: number,
  perBlock: number,
  huge: Map<number, bigint>,
): void {
  if (order === 4) {
    // The usual width, without a view for each entry.
    for (let i = 0, at = 0; i < perBlock; i++, at += 2) {
      const value = ((block[at] ?? 0) << 8) | (block[at + 1] ?? 0);
      if (value !== 0) counts.set(first + i, value);
    }
    return;
  }
  const words = new Uint32Array(block.buffer, block.byteOffset, block.length / 4);
  for (let word = 0; word < words.length; word++) {
    if (words[word] === 0) continue;
    if (order === 6) {
      const i = word >>> 1;
      const value = readRefcount(block, i, order);
      counts.set(first + i, value);
      if (!Number.isFinite(value) && huge.size < MAX_HUGE)
        huge.set(first + i, viewOf(block).getBigUint64(i * ENTRY_BYTES));
      continue;
    }
    const perWord = 32 >>> order;
    for (let i = word * perWord; i < (word + 1) * perWord; i++) {
      const value = readRefcount(block, i, order);
      if (value !== 0) counts.set(first + i, value);
    }
  }
}

/** Blocks that count clusters past the end of the file: only damage refers to those. */
async function readFarBlocks(image: CheckedImage, from: number): Promise<Map<number, Uint8Array>> {
  const blocks = new Map<number, Uint8Array>();
  const entries = refcountTableEntries(image);
  for (let index = from; index < entries; index++) {
    const offset = refcountBlockOffset(image, index);
    if (offset === 0 || offset >= image.file.sizeBytes || isUnalignedBlock(image, index)) continue;
    if (blocks.has(offset)) continue;
    if ((blocks.size + 1) * image.clusterSizeBytes > MAX_FAR_BYTES) break;
    const block = new Uint8Array(image.clusterSizeBytes);
    await readPadded(image.file, offset, block);
    blocks.set(offset, block);
  }
  return blocks;
}

function unalignedBlock(image: CheckedImage, index: number): string {
  const at = index * ENTRY_BYTES;
  const offset = hex64(
    image.refcountTable.getUint32(at),
    (image.refcountTable.getUint32(at + 4) & 0xfffffe00) >>> 0,
  );
  return (
    `qcow2: Image is corrupt: Refblock offset 0x${offset} unaligned (reftable index: ${index === 0 ? "0" : `0x${index.toString(16)}`}); ` +
    "further non-fatal corruption events will be suppressed"
  );
}
