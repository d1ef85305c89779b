import { addTree, CountDeltas } from "./count-deltas.ts";
import { ENTRY_BYTES } from "./format.ts";
import type { Qcow2Image } from "./image.ts";
import { decodeTableOffset } from "./l2-entry.ts";
import { readRefcount } from "./refcount-entry.ts";
import { snapshotTree } from "./snapshot-change.ts";
import type { Qcow2Snapshot } from "./snapshot-table.ts";
import { bytesOf, viewOf } from "./u64.ts";

/** How much of an image's file a snapshot takes, in bytes of whole host clusters, its tables included. */
export interface SnapshotUsage {
  /** Only this snapshot refers to them: free once it is deleted. */
  readonly ownBytes: number;
  /** The disk as it is now or other snapshots refer to them too. */
  readonly sharedBytes: number;
  /** How much of `ownBytes` is VM state. */
  readonly stateOwnBytes: number;
  /** How much of `sharedBytes` is VM state. */
  readonly stateSharedBytes: number;
}

/** @throws ByreError CORRUPT when its tables point outside the file. */
export async function snapshotUsage(image: Qcow2Image, snapshot: Qcow2Snapshot): Promise<SnapshotUsage> {
  const { clusterSizeBytes } = image;
  const { l1, l1OffsetBytes } = await snapshotTree(image, snapshot);
  const stateAt = Math.min(l1.byteLength, stateEntry(image, snapshot.diskBytes) * ENTRY_BYTES);
  const bytes = new Uint8Array(l1.buffer);
  const all = new CountDeltas();
  const state = new CountDeltas();
  await addTree(image, l1, l1OffsetBytes, 1, all);
  await addTree(image, viewOf(bytes.subarray(stateAt)), l1OffsetBytes + stateAt, 1, state);
  for (let at = 0; at < l1.byteLength; at += clusterSizeBytes)
    all.add((l1OffsetBytes + at) / clusterSizeBytes, 1);

  const isState = new Set([...state.changes()].map(([index]) => index));
  const counts = new Refcounts(image);
  const clusters = { own: 0, shared: 0, stateOwn: 0, stateShared: 0 };
  for (const [index, references] of all.changes()) {
    // A cluster of packed data is referred to once for each piece in it.
    const own = (await counts.get(index)) <= references;
    clusters[own ? "own" : "shared"]++;
    if (isState.has(index)) clusters[own ? "stateOwn" : "stateShared"]++;
  }
  return {
    ownBytes: clusters.own * clusterSizeBytes,
    sharedBytes: clusters.shared * clusterSizeBytes,
    stateOwnBytes: clusters.stateOwn * clusterSizeBytes,
    stateSharedBytes: clusters.stateShared * clusterSizeBytes,
  };
}

/**
 * Host clusters, tables not among them, that only the VM state of an image (as a snapshot has it) refers to.
 *
 * @param view see `Qcow2Image.viewSnapshot`.
 */
export async function ownStateClusters(image: Qcow2Image, view: Qcow2Image): Promise<number[]> {
  const stateAt = Math.min(view.l1.byteLength, stateEntry(image, view.header.sizeBytes) * ENTRY_BYTES);
  const l1 = viewOf(bytesOf(view.l1).slice(stateAt));
  const references = new CountDeltas();
  await addTree(image, l1, view.l1OffsetBytes + stateAt, 1, references);
  for (let at = 0; at < l1.byteLength; at += ENTRY_BYTES) {
    const l2Offset = decodeTableOffset(l1.getUint32(at), l1.getUint32(at + 4));
    if (l2Offset !== 0) references.add(l2Offset / image.clusterSizeBytes, -1);
  }
  const counts = new Refcounts(image);
  const own: number[] = [];
  for (const [index, count] of references.changes()) if ((await counts.get(index)) === count) own.push(index);
  return own;
}

/** The first L1 entry that is VM state's. */
function stateEntry({ l2ReachBytes }: Qcow2Image, diskBytes: number): number {
  return Math.ceil(diskBytes / l2ReachBytes);
}

/** Reads refcounts a block at a time. */
class Refcounts {
  private readonly block: Uint8Array;
  private blockOffsetBytes = -1;

  constructor(private readonly image: Qcow2Image) {
    this.block = new Uint8Array(image.clusterSizeBytes);
  }

  /** @throws ByreError CORRUPT when nothing counts the cluster. */
  async get(clusterIndex: number): Promise<number> {
    const { image } = this;
    const { blockOffsetBytes, indexInBlock, entryOffsetBytes } = image.findRefcountBlock(clusterIndex);
    if (blockOffsetBytes === 0)
      throw image.corrupt(
        `cluster ${clusterIndex} is used but no refcount block counts it`,
        entryOffsetBytes,
      );
    if (blockOffsetBytes !== this.blockOffsetBytes) await image.file.read(blockOffsetBytes, this.block);
    this.blockOffsetBytes = blockOffsetBytes;
    return readRefcount(this.block, indexInBlock, image.refcountOrder);
  }
}
