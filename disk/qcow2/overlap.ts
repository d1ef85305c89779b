import { ENTRY_BYTES } from "./format.ts";
import type { Qcow2Image } from "./image.ts";
import { decodeTableOffset } from "./l2-entry.ts";

/** Cluster index -> what structure of the image it holds, in the words of QEMU's message. */
export type MetadataClusters = Map<number, string>;

/**
 * Which clusters hold the image's own structures. A damaged table may point a guest's write at one of them;
 * before each write the place is looked up here. The same structures as QEMU's default, "cached".
 */
export function mapMetadata(image: Qcow2Image): MetadataClusters {
  const { clusterSizeBytes, header, l1, refcountTable } = image;
  const clusters: MetadataClusters = new Map();
  const add = (offsetBytes: number, lengthBytes: number, what: string) => {
    const last = Math.ceil((offsetBytes + lengthBytes) / clusterSizeBytes);
    for (let index = Math.floor(offsetBytes / clusterSizeBytes); index < last; index++)
      clusters.set(index, what);
  };
  const addTargets = (table: DataView, what: string) => {
    for (let at = 0; at < table.byteLength; at += ENTRY_BYTES) {
      const offset = decodeTableOffset(table.getUint32(at), table.getUint32(at + 4));
      if (offset > 0 && offset < image.file.sizeBytes)
        clusters.set(Math.floor(offset / clusterSizeBytes), what);
    }
  };
  for (const { start, end } of mergedSnapshotTables(image)) add(start, end - start, "inactive L1 table");
  if (header.snapshotCount > 0) add(header.snapshotsOffsetBytes, 1, "snapshot table");
  addTargets(refcountTable, "refcount block");
  add(image.refcountTableOffsetBytes, refcountTable.byteLength, "refcount table");
  addTargets(l1, "active L2 table");
  add(image.l1OffsetBytes, l1.byteLength, "active L1 table");
  clusters.set(0, "qcow2_header");
  return clusters;
}

/**
 * Where the snapshots' L1 tables are, each byte once and only inside the file: a hostile table may say of
 * thousands of snapshots that they all have the same 32 MiB.
 */
function mergedSnapshotTables({ snapshots, file }: Qcow2Image): { start: number; end: number }[] {
  const ranges = snapshots
    .map(({ l1OffsetBytes, l1Entries }) => ({
      start: l1OffsetBytes,
      end: Math.min(file.sizeBytes, l1OffsetBytes + l1Entries * ENTRY_BYTES),
    }))
    .filter(({ start, end }) => start < end)
    .sort((a, b) => a.start - b.start);
  const merged: { start: number; end: number }[] = [];
  for (const range of ranges) {
    const last = merged.at(-1);
    if (last && range.start <= last.end) last.end = Math.max(last.end, range.end);
    else merged.push(range);
  }
  return merged;
}
