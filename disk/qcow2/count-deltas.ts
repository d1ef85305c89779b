import { ENTRY_BYTES } from "./format.ts";
import type { Qcow2Image } from "./image.ts";
import { decodeL2Entry, decodeTableOffset } from "./l2-entry.ts";
import { viewOf } from "./u64.ts";

/** Clusters to a page of changes: 16 KiB of memory for each part of the file that changes at all. */
const PAGE_CLUSTERS = 4096;

/** By how much the counts of many clusters change. */
export class CountDeltas {
  private readonly pages = new Map<number, Int32Array>();

  add(clusterIndex: number, change: number): void {
    const pageIndex = Math.floor(clusterIndex / PAGE_CLUSTERS);
    let page = this.pages.get(pageIndex);
    if (!page) {
      page = new Int32Array(PAGE_CLUSTERS);
      this.pages.set(pageIndex, page);
    }
    const at = clusterIndex - pageIndex * PAGE_CLUSTERS;
    page[at] = (page[at] ?? 0) + change;
  }

  /** Every cluster whose count changes, with the change. */
  *changes(): Generator<readonly [clusterIndex: number, change: number]> {
    for (const [pageIndex, page] of this.pages)
      for (let at = 0; at < page.length; at++) {
        const change = page[at] ?? 0;
        if (change !== 0) yield [pageIndex * PAGE_CLUSTERS + at, change];
      }
  }
}

/**
 * Counts every reference that a tree of tables makes: to its L2 tables and to what they point to. Not the L1
 * table's own clusters.
 *
 * @param l1 the tree's L1 table.
 * @param l1OffsetBytes where it stands, for messages.
 * @throws ByreError CORRUPT for an entry that does not point to a cluster's start.
 */
export async function addTree(
  image: Qcow2Image,
  l1: DataView,
  l1OffsetBytes: number,
  change: number,
  deltas: CountDeltas,
): Promise<void> {
  const { clusterSizeBytes, clusterBits, entryBytes, file } = image;
  const table = new Uint8Array(clusterSizeBytes);
  const view = viewOf(table);
  for (let at = 0; at < l1.byteLength; at += ENTRY_BYTES) {
    const l2Offset = decodeTableOffset(l1.getUint32(at), l1.getUint32(at + 4));
    if (l2Offset === 0) continue;
    image.checkClusterOffset(l2Offset, "L1 entry", l1OffsetBytes + at);
    deltas.add(l2Offset / clusterSizeBytes, change);
    await file.read(l2Offset, table);
    for (let entryAt = 0; entryAt < clusterSizeBytes; entryAt += entryBytes) {
      const hi = view.getUint32(entryAt);
      const lo = view.getUint32(entryAt + 4);
      if (hi === 0 && lo <= 1) continue;
      const entry = decodeL2Entry(hi, lo, clusterBits);
      if (entry.kind === "plain") {
        if (entry.hostOffsetBytes % clusterSizeBytes !== 0)
          throw image.corrupt("an L2 entry does not point to a cluster's start", l2Offset + entryAt);
        if (entry.hostOffsetBytes !== 0) deltas.add(entry.hostOffsetBytes / clusterSizeBytes, change);
        continue;
      }
      const last = Math.floor((entry.hostOffsetBytes + entry.lengthBytes - 1) / clusterSizeBytes);
      for (let index = Math.floor(entry.hostOffsetBytes / clusterSizeBytes); index <= last; index++)
        deltas.add(index, change);
    }
  }
}
