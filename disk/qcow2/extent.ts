import { ENTRY_BYTES } from "./format.ts";
import type { Qcow2Image } from "./image.ts";
import { decodeL2Entry, decodeTableOffset } from "./l2-entry.ts";
import { readRefcount, refcountsPerBlock } from "./refcount-entry.ts";
import { viewOf } from "./u64.ts";

/**
 * Start of the last host cluster that the image uses, in bytes: the file must reach past it.
 *
 * The refcounts tell it with one read. When they reach past the end of the file they may only be ahead of it
 * (clusters leaked by a crash), so then, and only then, the L2 tables are asked.
 */
export async function findLastHostCluster(image: Qcow2Image): Promise<number> {
  const counted = await lastCounted(image);
  return counted < image.file.sizeBytes ? counted : lastReferenced(image);
}

/** Start of the last cluster with a refcount; past the file's end when that cannot be read. */
async function lastCounted(image: Qcow2Image): Promise<number> {
  const { file, clusterSizeBytes, refcountOrder, refcountTable } = image;
  const countsPerBlock = refcountsPerBlock(clusterSizeBytes, refcountOrder);
  for (let blockIndex = refcountTable.byteLength / ENTRY_BYTES - 1; blockIndex >= 0; blockIndex--) {
    const at = blockIndex * ENTRY_BYTES;
    const offset = decodeTableOffset(refcountTable.getUint32(at), refcountTable.getUint32(at + 4));
    if (offset === 0) continue;
    if (offset + clusterSizeBytes > file.sizeBytes) return file.sizeBytes;
    const block = new Uint8Array(clusterSizeBytes);
    await file.read(offset, block);
    // Most of a block is zeros: entry by entry it would be a million looks for wide clusters.
    let lastByte = block.length - 1;
    while (lastByte >= 0 && block[lastByte] === 0) lastByte--;
    if (lastByte < 0) continue;
    const after = Math.ceil(((lastByte + 1) * 8) / 2 ** refcountOrder);
    for (let i = after - 1; i >= 0; i--)
      if (readRefcount(block, i, refcountOrder) > 0)
        return (blockIndex * countsPerBlock + i) * clusterSizeBytes;
  }
  return 0;
}

/** Start of the last cluster that the active tables point to, the tables included. */
async function lastReferenced(image: Qcow2Image): Promise<number> {
  const { file, clusterSizeBytes, l1 } = image;
  let last = 0;
  const table = new Uint8Array(clusterSizeBytes);
  const view = viewOf(table);
  for (let at = 0; at < l1.byteLength; at += ENTRY_BYTES) {
    const l2Offset = decodeTableOffset(l1.getUint32(at), l1.getUint32(at + 4));
    if (l2Offset === 0) continue;
    last = Math.max(last, l2Offset);
    // A table that is cut itself says enough.
    if (l2Offset + clusterSizeBytes > file.sizeBytes) return Math.max(last, file.sizeBytes);
    await file.read(l2Offset, table);
    for (let entryAt = 0; entryAt < clusterSizeBytes; entryAt += image.entryBytes) {
      const entry = decodeL2Entry(view.getUint32(entryAt), view.getUint32(entryAt + 4), image.clusterBits);
      // A cluster in reserve under a zero flag may lie past the end.
      if (entry.kind === "compressed" || entry.zeros === 0) last = Math.max(last, entry.hostOffsetBytes);
    }
  }
  return last;
}
