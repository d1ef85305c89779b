import { WriteStage } from "../block-file.ts";
import type { Qcow2Core } from "./core.ts";
import { WHOLE_CLUSTER } from "./l2-entry.ts";
import { entryAt, setPlainEntry } from "./mapping.ts";
import { untilReady } from "./needs.ts";

/** What is written and not flushed is in memory. */
const FLUSH_BYTES = 32 * 1024 * 1024;
/** Most clusters given room in one step, and most bytes of them. */
const MAX_CLUSTERS = 1024;
const MAX_STEP_BYTES = 16 * 1024 * 1024;

/**
 * Gives a range of the disk room in the file, so that writing to it later needs none. The bytes read as
 * zeros. Clusters that are stored already stay as they are.
 *
 * @param endBytes a cluster's end, or the disk's.
 * @param write writes zeros to the clusters, so that the host has room for them too; else the file only
 *   becomes so long.
 */
export async function preallocate(
  core: Qcow2Core,
  startBytes: number,
  endBytes: number,
  write: boolean,
): Promise<void> {
  for (let at = startBytes; at < endBytes; ) {
    if (core.image.file.dirtyBytes > FLUSH_BYTES) await core.flush();
    at += await untilReady((needs) => {
      const { image, entries, allocator } = core;
      const { clusterSizeBytes } = image;
      const place = entries.find(at, needs);
      if (!place) return undefined;
      const first = at - (at % clusterSizeBytes);
      const count = Math.min(
        Math.min(MAX_CLUSTERS, Math.max(1, MAX_STEP_BYTES / clusterSizeBytes)),
        place.entriesLeft,
        Math.ceil((endBytes - first) / clusterSizeBytes),
      );
      const empty: number[] = [];
      for (let i = 0; i < count; i++) {
        const entry = entryAt(image, place.slice, place.index + i);
        if (entry.kind === "plain" && entry.hostOffsetBytes === 0) empty.push(i);
      }
      const free = allocator.findFree(empty.length, needs);
      if (!free) return undefined;
      const changes = entries.countChanges(free, []);
      allocator.check(changes, needs);
      entries.check(place, count, needs);
      const mustWrite = write || (image.cipher !== undefined && !image.hasZeroClusters);
      // What was there before must not show; past the end of the file there is nothing.
      const fileBytes = image.file.sizeBytes;
      const isWritten = (index: number) => mustWrite || index * clusterSizeBytes < fileBytes;
      for (const index of free.filter(isWritten))
        image.tables.checkWritable(index * clusterSizeBytes, clusterSizeBytes, needs);
      if (needs.length > 0) return undefined;
      const zeros = new Uint8Array(clusterSizeBytes);
      // Encrypted, zeros are not what reads as zeros: where the version can, the entries say so.
      const sayZeros = image.cipher !== undefined && image.hasZeroClusters;
      free.forEach((index, k) => {
        if (!isWritten(index)) return;
        const bytes = zeros.slice();
        if (!sayZeros) image.cipher?.encrypt(first + (empty[k] ?? 0) * clusterSizeBytes, bytes);
        image.file.write(index * clusterSizeBytes, bytes, WriteStage.DATA);
      });
      const end = Math.max(0, ...free.map((index) => (index + 1) * clusterSizeBytes));
      if (end > image.file.sizeBytes) image.file.truncate(end);
      empty.forEach((i, k) => {
        // With subclusters none is stored yet: the room alone is taken.
        const allocated = image.extendedL2 || sayZeros ? 0 : WHOLE_CLUSTER;
        const zeroBits = sayZeros && !image.extendedL2 ? WHOLE_CLUSTER : 0;
        const hostOffsetBytes = (free[k] ?? 0) * clusterSizeBytes;
        setPlainEntry(image, place, i, {
          kind: "plain",
          hostOffsetBytes,
          copied: true,
          allocated,
          zeros: zeroBits,
        });
      });
      entries.write(place, count);
      allocator.apply(changes);
      return Math.min(first + count * clusterSizeBytes, endBytes) - at;
    });
  }
}
