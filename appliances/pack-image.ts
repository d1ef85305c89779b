import { mkdir, rename, rm, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import {
  createMemoryFile,
  createQcow2,
  encodeMetadata,
  METADATA_MAGIC,
  type Metadata,
  openQcow2,
  type Qcow2Device,
  type Qcow2Snapshot,
  type StateReader,
} from "../disk/index.ts";

const CLUSTER_BYTES = 65536;

/** zlib's best: an image is packed once and fetched often. */
const COMPRESSION_LEVEL = 9;

/** Far less than the header cluster has room for. */
const METADATA_BYTES = 16 * 1024;

/** The snapshot that the state is laid out in, before there is a disk for the one that stays. */
const LAYOUT_NAME = "(layout)";

/**
 * Makes the image that is given out: a disk and one saved state, every cluster packed as small as it goes.
 *
 * The state comes first in the file, from its first cluster to its last, which is the order in which a start
 * reads it; so it takes few requests, and whoever fetches the file from its beginning has it soon.
 *
 * @param source an image with that snapshot, and the snapshot's disk as its own; it stays open.
 * @returns the image's bytes.
 */
export async function packImage(
  source: Qcow2Device,
  snapshotName: string,
  metadata: Metadata,
): Promise<Uint8Array<ArrayBuffer>> {
  const file = createMemoryFile({ name: "packed.qcow2" });
  const data = encodeMetadata(metadata, file.name, METADATA_BYTES);
  await createQcow2(file, {
    sizeBytes: source.sizeBytes,
    clusterSizeBytes: CLUSTER_BYTES,
    extensions: [{ magic: METADATA_MAGIC, data }],
  });
  const target = await openQcow2(file, { writable: true });
  try {
    const state = await source.openState(snapshotName);
    const layout = await writeState(target, state);
    await writeDisk(target, source);
    await shareState(target, layout, state);
    await target.deleteSnapshot(layout.id);
    await target.flush();
    return file.toBytes();
  } finally {
    await target.close();
  }
}

/** Puts a file in its place: whole, or not at all. */
export async function placeFile(path: string, bytes: Uint8Array): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  const partialPath = `${path}.${process.pid}.partial`;
  try {
    await writeFile(partialPath, bytes);
    await rename(partialPath, path);
  } finally {
    await rm(partialPath, { force: true });
  }
}

/** Writes the state into a snapshot of the empty disk. */
async function writeState(target: Qcow2Device, state: StateReader): Promise<Qcow2Snapshot> {
  const writer = await target.beginState({ maxStateBytes: state.sizeBytes });
  const cluster = new Uint8Array(CLUSTER_BYTES);
  for (const index of await storedClusters(state)) {
    const offsetBytes = index * CLUSTER_BYTES;
    const length = Math.min(CLUSTER_BYTES, state.sizeBytes - offsetBytes);
    await state.read(offsetBytes, cluster.fill(0).subarray(0, length));
    const packed = target.image.codec.compress(cluster, COMPRESSION_LEVEL);
    if (packed) await writer.writePacked(index, packed);
    else await writer.writeCluster(index, cluster);
  }
  return await writer.finish({ name: LAYOUT_NAME, vmStateBytes: state.sizeBytes });
}

async function writeDisk(target: Qcow2Device, source: Qcow2Device): Promise<void> {
  const cluster = Buffer.alloc(CLUSTER_BYTES);
  const zeros = Buffer.alloc(CLUSTER_BYTES);
  for (let offsetBytes = 0; offsetBytes < source.sizeBytes; offsetBytes += CLUSTER_BYTES) {
    cluster.fill(0);
    await source.read(
      offsetBytes,
      cluster.subarray(0, Math.min(CLUSTER_BYTES, source.sizeBytes - offsetBytes)),
    );
    if (cluster.equals(zeros)) continue;
    await target.writeCompressed(offsetBytes, cluster, COMPRESSION_LEVEL);
  }
}

/** Makes the snapshot that stays: of the disk that is there now, with the clusters of the state laid out before. */
async function shareState(target: Qcow2Device, layout: Qcow2Snapshot, state: StateReader): Promise<void> {
  const writer = await target.beginState({ maxStateBytes: state.sizeBytes });
  for (const index of await storedClusters(state)) {
    if (await writer.share(index, layout)) continue;
    throw new Error(`Cluster ${index} of the state cannot be shared with the layout.`);
  }
  const { name, dateSeconds, dateNanoseconds, vmClockNanoseconds } = state.snapshot;
  const vmStateBytes = state.sizeBytes;
  await writer.finish({ name, vmStateBytes, dateSeconds, dateNanoseconds, vmClockNanoseconds });
}

async function storedClusters(state: StateReader): Promise<number[]> {
  const indexes: number[] = [];
  for (let at = 0; at < state.sizeBytes; ) {
    const { stored, lengthBytes } = await state.run(at, state.sizeBytes - at);
    const end = at + lengthBytes;
    if (stored)
      for (let index = at / CLUSTER_BYTES; index * CLUSTER_BYTES < end; index++) indexes.push(index);
    at = end;
  }
  return indexes;
}
