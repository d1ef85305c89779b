import { WriteStage } from "../block-file.ts";
import type { ClusterCounts } from "./check-counts.ts";
import { type CheckedImage, readPadded } from "./check-image.ts";
import { countsPerBlock, refcountBlockOffset } from "./check-refcounts.ts";
import { refcountBytes, writeRefcount } from "./refcount-entry.ts";
import type { RepairWriter } from "./repair-writer.ts";

/**
 * Writes new refcounts into the blocks that hold them. Every block must be sound: aligned, inside the file,
 * used by nothing else.
 *
 * @param clusters whose counts change, in rising order.
 * @param counts has their new values.
 */
export async function writeRefcounts(
  writer: RepairWriter,
  image: CheckedImage,
  clusters: ArrayLike<number>,
  counts: ClusterCounts,
): Promise<void> {
  const perBlock = countsPerBlock(image);
  const order = image.header.refcountOrder;
  const block = new Uint8Array(image.clusterSizeBytes);
  for (let i = 0; i < clusters.length; ) {
    const index = Math.floor((clusters[i] ?? 0) / perBlock);
    const offset = refcountBlockOffset(image, index);
    await readPadded(image.file, offset, block);
    let start = block.length;
    let end = 0;
    for (; i < clusters.length; i++) {
      const cluster = clusters[i] ?? 0;
      const inBlock = cluster - index * perBlock;
      if (inBlock >= perBlock) break;
      writeRefcount(block, inBlock, order, counts.get(cluster));
      const bytes = refcountBytes(inBlock, order);
      start = Math.min(start, bytes.start);
      end = Math.max(end, bytes.end);
    }
    await writer.put(offset + start, block.subarray(start, end), WriteStage.REFCOUNT_BLOCK);
  }
  await writer.flush();
}
