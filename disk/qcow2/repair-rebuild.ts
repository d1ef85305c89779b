import { WriteStage } from "../block-file.ts";
import type { ClusterCounts } from "./check-counts.ts";
import type { CheckedImage } from "./check-image.ts";
import { countsPerBlock } from "./check-refcounts.ts";
import { checkFailed } from "./check-tally.ts";
import { ENTRY_BYTES, MAX_REFCOUNT_TABLE_BYTES } from "./format.ts";
import { writeRefcount } from "./refcount-entry.ts";
import { type RepairWriter, setRefcountTable } from "./repair-writer.ts";
import { viewOf, writeU64 } from "./u64.ts";

/**
 * Makes a new refcount table and new blocks from counted references, in clusters that nothing refers to, and
 * switches the header to them in one write; a crash before leaves the old ones, after it the new. The old
 * ones are leaked then, and the caller's to free.
 *
 * Places are chosen as QEMU does: each block in the first free cluster of what it counts, then the table in
 * the first gap that holds it. So an image with room does not grow.
 *
 * @param counts references, which gain those of the new structures.
 * @param clusters how many clusters the image has.
 * @returns how many it has now.
 * @throws ByreError CHECK_FAILED when the table would be larger than the format allows; nothing is written.
 */
export async function rebuildRefcounts(
  writer: RepairWriter,
  image: CheckedImage,
  counts: ClusterCounts,
  clusters: number,
): Promise<number> {
  const layout = new RefcountLayout(image, counts, clusters);
  layout.placeAll();
  const { clusterSizeBytes, header } = image;
  if (layout.tableEntries * ENTRY_BYTES > Math.max(MAX_REFCOUNT_TABLE_BYTES, clusterSizeBytes))
    throw checkFailed(
      image.file.name,
      "its refcount table would be larger than 8 MiB; convert it to larger clusters",
      "File too large",
    );
  const table = new Uint8Array(layout.tableEntries * ENTRY_BYTES);
  const perBlock = countsPerBlock(image);
  for (const [index, cluster] of layout.blocks) {
    writeU64(viewOf(table), index * ENTRY_BYTES, cluster * clusterSizeBytes);
    const block = new Uint8Array(clusterSizeBytes);
    const end = (index + 1) * perBlock;
    for (let at = counts.nextCounted(index * perBlock, end); at < end; at = counts.nextCounted(at + 1, end))
      writeRefcount(block, at - index * perBlock, header.refcountOrder, counts.get(at));
    await writer.put(cluster * clusterSizeBytes, block, WriteStage.REFCOUNT_BLOCK);
  }
  await writer.put(layout.tableCluster * clusterSizeBytes, table, WriteStage.REFCOUNT_TABLE);
  await setRefcountTable(writer, image, table, layout.tableCluster * clusterSizeBytes);
  return layout.clusters;
}

/** Finds places for refcount blocks and table that count themselves too. */
class RefcountLayout {
  /** Index in the table -> cluster of the block. */
  readonly blocks = new Map<number, number>();
  tableEntries = 0;
  tableCluster = 0;
  private readonly perBlock: number;
  private readonly entriesPerCluster: number;

  constructor(
    image: CheckedImage,
    private readonly counts: ClusterCounts,
    public clusters: number,
  ) {
    this.perBlock = countsPerBlock(image);
    this.entriesPerCluster = image.clusterSizeBytes / ENTRY_BYTES;
  }

  /**
   * The table takes clusters that need counting, for which blocks may be missing, for which the table may
   * be too short. Each round makes the table reach further than it takes, so this ends. A place that became
   * too small stays counted; the check that follows frees it.
   */
  placeAll(): void {
    this.placeBlocks(0, this.clusters);
    let grown = true;
    while (grown) {
      const tableClusters = this.tableEntries / this.entriesPerCluster;
      this.tableCluster = this.allocate(tableClusters, { first: 0 });
      grown = this.placeBlocks(this.tableCluster, this.tableCluster + tableClusters);
    }
  }

  /** Places a block for every count in a range that has none yet. @returns whether the table grew. */
  private placeBlocks(first: number, last: number): boolean {
    const cursor = { first: 0 };
    let grown = false;
    let end = last;
    let cluster = this.counts.nextCounted(first, end);
    while (cluster < end) {
      const index = Math.floor(cluster / this.perBlock);
      if (!this.blocks.has(index)) {
        // Not among clusters whose block is done: its count would be missing there.
        cursor.first = Math.max(cursor.first, index * this.perBlock);
        const place = this.allocate(1, cursor);
        end = Math.max(end, place + 1);
        this.blocks.set(index, place);
        if (index >= this.tableEntries) {
          this.tableEntries = Math.ceil((index + 1) / this.entriesPerCluster) * this.entriesPerCluster;
          grown = true;
        }
      }
      cluster = this.counts.nextCounted((index + 1) * this.perBlock, end);
    }
    return grown;
  }

  /** The first gap of so many clusters from the cursor on; past the end when there is none. */
  private allocate(count: number, cursor: { first: number }): number {
    let cluster = cursor.first;
    let free = 0;
    let gapSeen = false;
    for (; cluster < this.clusters && free < count; cluster++) {
      if (this.counts.get(cluster) !== 0) {
        free = 0;
        continue;
      }
      free++;
      if (!gapSeen) cursor.first = cluster;
      gapSeen = true;
    }
    const start = cluster - free;
    this.clusters = Math.max(this.clusters, start + count);
    for (let i = 0; i < count; i++) this.counts.set(start + i, 1);
    return start;
  }
}
