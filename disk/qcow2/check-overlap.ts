import { ClusterCounts } from "./check-counts.ts";
import type { CheckedImage } from "./check-image.ts";
import { l1Target, scanEntries } from "./check-l1.ts";
import { refcountBlockOffset, refcountTableEntries } from "./check-refcounts.ts";
import { isBadSnapshot, snapshotL1Offset } from "./check-references.ts";
import type { CheckedSnapshots } from "./check-snapshots.ts";
import { ENTRY_BYTES } from "./format.ts";

/** What a cluster may hold, as bits. */
export const Metadata = {
  HEADER: 1,
  ACTIVE_L1: 2,
  ACTIVE_L2: 4,
  REFCOUNT_TABLE: 8,
  REFCOUNT_BLOCK: 16,
  SNAPSHOT_TABLE: 32,
  INACTIVE_L1: 64,
  BITMAP_DIRECTORY: 128,
} as const;

/** Which clusters hold metadata, so that a repair of one structure does not write over another. */
export interface MetadataMap {
  /** Whether a range touches metadata other than of the kinds that are expected there. */
  overlaps(offsetBytes: number, lengthBytes: number, expected: number): boolean;
}

/** Makes the map from the tables as they are in the file. */
export async function mapMetadata(image: CheckedImage, snapshots: CheckedSnapshots): Promise<MetadataMap> {
  const { clusterSizeBytes, file } = image;
  const clusters = Math.ceil(file.sizeBytes / clusterSizeBytes);
  const kinds = new ClusterCounts(clusters);
  const mark = (offsetBytes: number, lengthBytes: number, kind: number) => {
    const last = Math.min(clusters, Math.ceil((offsetBytes + lengthBytes) / clusterSizeBytes));
    for (let cluster = Math.floor(offsetBytes / clusterSizeBytes); cluster < last; cluster++)
      kinds.set(cluster, kinds.get(cluster) | kind);
  };
  mark(0, clusterSizeBytes, Metadata.HEADER);
  mark(image.l1OffsetBytes, image.l1Entries * ENTRY_BYTES, Metadata.ACTIVE_L1);
  mark(image.refcountTableOffsetBytes, image.refcountTable.byteLength, Metadata.REFCOUNT_TABLE);
  mark(image.snapshotsOffsetBytes, snapshots.lengthBytes, Metadata.SNAPSHOT_TABLE);
  if (image.bitmapDirectory)
    mark(image.bitmapDirectory.offsetBytes, image.bitmapDirectory.lengthBytes, Metadata.BITMAP_DIRECTORY);
  for (let index = 0; index < refcountTableEntries(image); index++) {
    const offset = refcountBlockOffset(image, index);
    if (offset !== 0) mark(offset, clusterSizeBytes, Metadata.REFCOUNT_BLOCK);
  }
  const seen = new Set<string>();
  for (let index = 0; index < snapshots.count; index++) {
    if (isBadSnapshot(image, snapshots, index)) continue;
    const offset = snapshotL1Offset(snapshots, index);
    const bytes = (snapshots.l1Entries[index] ?? 0) * ENTRY_BYTES;
    const key = `${offset} ${bytes}`;
    if (!seen.has(key)) mark(offset, bytes, Metadata.INACTIVE_L1);
    seen.add(key);
  }
  const end = Math.min(image.l1OffsetBytes + image.l1Entries * ENTRY_BYTES, file.sizeBytes);
  await scanEntries(file, image.l1OffsetBytes, end, (hi, lo) => {
    const offset = l1Target(hi, lo);
    if (offset !== 0) mark(offset, clusterSizeBytes, Metadata.ACTIVE_L2);
  });
  return {
    overlaps(offsetBytes, lengthBytes, expected) {
      const last = Math.ceil((offsetBytes + lengthBytes) / clusterSizeBytes);
      for (let cluster = Math.floor(offsetBytes / clusterSizeBytes); cluster < last; cluster++)
        if ((kinds.get(cluster) & ~expected) !== 0) return true;
      return false;
    },
  };
}
