import { WriteStage } from "../block-file.ts";
import type { ClusterCounts } from "./check-counts.ts";
import type { CheckedImage } from "./check-image.ts";
import { countsPerBlock, refcountBlockOffset, refcountTableEntries } from "./check-refcounts.ts";
import { type CheckedSnapshots, encodeSnapshotEntry, readSnapshotEntry } from "./check-snapshots.ts";
import { checkFailed } from "./check-tally.ts";
import { HeaderField, MAX_SNAPSHOT_TABLE_BYTES } from "./format.ts";
import { writeRefcounts } from "./repair-refcounts.ts";
import type { RepairWriter } from "./repair-writer.ts";
import { viewOf, writeU64 } from "./u64.ts";

const FIRST_TABLE_BYTES = 4096;

/** Writes how many snapshots the table has into the header; those past it are leaked, for the check to free. */
export async function cutSnapshotCount(
  writer: RepairWriter,
  image: CheckedImage,
  count: number,
): Promise<void> {
  const bytes = new Uint8Array(4);
  viewOf(bytes).setUint32(0, count);
  await writer.putHeader(HeaderField.SNAPSHOT_COUNT, bytes);
  image.snapshotCount = count;
}

/**
 * The snapshot table with what its version asks of entries. Made before anything is repaired: a damaged table
 * may lie where free clusters are.
 *
 * @throws ByreError CHECK_FAILED when it would be larger than the format allows.
 */
export async function renewSnapshotTable(
  image: CheckedImage,
  snapshots: CheckedSnapshots,
): Promise<Uint8Array> {
  let table = new Uint8Array(Math.max(FIRST_TABLE_BYTES, snapshots.count * 64));
  let length = 0;
  for (let index = 0; index < snapshots.count; index++) {
    const entry = await readSnapshotEntry(image, snapshots, index);
    const start = Math.ceil(length / 8) * 8;
    const bytes = encodeSnapshotEntry(entry, image.header.sizeBytes);
    length = start + bytes.length;
    if (length > MAX_SNAPSHOT_TABLE_BYTES)
      throw checkFailed(
        image.file.name,
        "its snapshot table would be larger than 64 MiB; delete snapshots",
        "File too large",
      );
    if (length > table.length) {
      const longer = new Uint8Array(Math.max(length, table.length * 2));
      longer.set(table);
      table = longer;
    }
    table.set(bytes, start);
  }
  return table.subarray(0, length);
}

/**
 * The first run of free clusters that refcount blocks count already.
 *
 * @param counts sound stored counts.
 * @returns undefined when the blocks have no such run.
 */
export function findCountedRun(
  image: CheckedImage,
  counts: ClusterCounts,
  length: number,
): number | undefined {
  const perBlock = countsPerBlock(image);
  let run = 0;
  for (let index = 0; index < refcountTableEntries(image); index++) {
    if (refcountBlockOffset(image, index) === 0) {
      run = 0;
      continue;
    }
    for (let cluster = index * perBlock; cluster < (index + 1) * perBlock; cluster++) {
      run = counts.get(cluster) === 0 ? run + 1 : 0;
      if (run === length) return cluster - length + 1;
    }
  }
  return undefined;
}

/**
 * Writes the new snapshot table and switches the header to it.
 *
 * @param firstCluster free clusters that are counted already.
 */
export async function writeSnapshotTable(
  writer: RepairWriter,
  image: CheckedImage,
  table: Uint8Array,
  count: number,
  firstCluster: number,
): Promise<void> {
  const start = firstCluster * image.clusterSizeBytes;
  await writer.put(start, table, WriteStage.DATA);
  const bytes = new Uint8Array(12);
  viewOf(bytes).setUint32(0, count);
  writeU64(viewOf(bytes), 4, start);
  await writer.putHeader(HeaderField.SNAPSHOT_COUNT, bytes);
  image.snapshotsOffsetBytes = start;
}

/** Changes the stored counts of a run of clusters by one. */
export async function changeRun(
  writer: RepairWriter,
  image: CheckedImage,
  counts: ClusterCounts,
  firstCluster: number,
  length: number,
  change: 1 | -1,
): Promise<void> {
  const clusters = Array.from({ length }, (_, i) => firstCluster + i).filter(
    (cluster) => counts.get(cluster) + change >= 0,
  );
  for (const cluster of clusters) counts.set(cluster, counts.get(cluster) + change);
  await writeRefcounts(writer, image, clusters, counts);
}
