import { ByreError, nextTurn, type Qcow2Snapshot, type StateWriter } from "../disk/index.ts";
import { PRINT_BYTES, PrintTable } from "./saved-clusters.ts";
import type { CapturedCluster, CapturedState, CaptureRoom } from "./state-capture.ts";
import { alignExtent, encodeStateHeader, type StateExtent, type StateHeader } from "./state-format.ts";
import type { CompressionType, PackedCluster, StatePacker } from "./state-packer.ts";

/** Plain bytes packed with one call: 16 ms of a worker's time, little against what a message costs. */
const BATCH_BYTES = 512 * 1024;

/** A state whose unchanged clusters a new one shares. */
export interface ParentState {
  readonly snapshot: Qcow2Snapshot;
  readonly prints: PrintTable;
}

export interface StateWriting {
  packer: StatePacker;
  /** undefined: clusters are kept plain (an encrypted image). */
  type: CompressionType | undefined;
  parent: ParentState | undefined;
  /** Gets the captured clusters back. */
  room: CaptureRoom;
  /** The header, once it is known where the prints are. */
  header: (prints: StateExtent) => StateHeader;
  onProgress: (fraction: number) => void;
  signal: AbortSignal | undefined;
}

/**
 * Writes a captured state while the guest goes on: memory and devices in their order, then the prints, then the
 * header.
 *
 * @returns the length of the state, and what its clusters are.
 * @throws ByreError CANCELLED, what writing meets.
 */
export async function writeState(
  writer: StateWriter,
  { memory, device, clusters }: CapturedState,
  options: StateWriting,
): Promise<{ sizeBytes: number; prints: PrintTable }> {
  const { clusterSizeBytes } = writer;
  const deviceEnd = device.offsetBytes + device.lengthBytes;
  const prints = new PrintTable(Math.ceil(deviceEnd / clusterSizeBytes));
  let done = 0;
  for await (const packed of packedInOrder(clusters, clusterSizeBytes, options)) {
    checkGoing(options.signal);
    for (const [index, cluster] of packed) {
      prints.set(index, cluster.print);
      await writeCluster(writer, index, cluster, options);
      options.room.keep(index, cluster.print, cluster.bytes);
      done++;
    }
    options.onProgress(done / (clusters.length + 1));
    await nextTurn();
  }
  const encoded = prints.encode(memory.offsetBytes / clusterSizeBytes);
  const extent = { offsetBytes: alignExtent(deviceEnd), lengthBytes: encoded.length };
  await writePlain(writer, extent.offsetBytes, encoded, options);
  await writePlain(writer, 0, encodeStateHeader(options.header(extent)), options);
  checkGoing(options.signal);
  return { sizeBytes: extent.offsetBytes + extent.lengthBytes, prints };
}

/** The length that a captured state will have. */
export function stateSizeBytes({ memory, device }: CapturedState, clusterSizeBytes: number): number {
  const deviceEnd = device.offsetBytes + device.lengthBytes;
  const clusters = Math.ceil(deviceEnd / clusterSizeBytes) - memory.offsetBytes / clusterSizeBytes;
  return alignExtent(deviceEnd) + clusters * PRINT_BYTES;
}

/** @throws ByreError CANCELLED when a signal is aborted. */
export function checkGoing(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw new ByreError("CANCELLED", "This was cancelled.", {}, signal.reason);
}

/** Writes bytes from a cluster's start on, the last cluster filled with zeros. */
export async function writePlain(
  writer: StateWriter,
  offsetBytes: number,
  bytes: Uint8Array,
  { packer, type }: Pick<StateWriting, "packer" | "type">,
): Promise<void> {
  const { clusterSizeBytes } = writer;
  for (let at = 0; at < bytes.length; at += clusterSizeBytes) {
    const cluster = new Uint8Array(clusterSizeBytes);
    cluster.set(bytes.subarray(at, at + clusterSizeBytes));
    const [packed] = await packer.pack([{ bytes: cluster }], type);
    const index = (offsetBytes + at) / clusterSizeBytes;
    if (packed?.packed) await writer.writePacked(index, packed.packed);
    else if (packed) await writer.writeCluster(index, packed.bytes);
  }
}

async function writeCluster(
  writer: StateWriter,
  index: number,
  { bytes, packed, print }: PackedCluster,
  { parent }: StateWriting,
): Promise<void> {
  const known = parent?.prints.has(index, print) === true;
  if (parent && known && (await writer.share(index, parent.snapshot))) return;
  if (packed) await writer.writePacked(index, packed);
  else await writer.writeCluster(index, bytes);
}

/** Packs clusters, several batches under way at once, and gives them in their order. */
async function* packedInOrder(
  clusters: readonly CapturedCluster[],
  clusterSizeBytes: number,
  { packer, type, parent }: StateWriting,
): AsyncGenerator<[number, PackedCluster][]> {
  const batchClusters = Math.max(1, Math.floor(BATCH_BYTES / clusterSizeBytes));
  const underWay: Promise<[number, PackedCluster][]>[] = [];
  const pack = async (batch: readonly CapturedCluster[]): Promise<[number, PackedCluster][]> => {
    const requests = batch.map(({ index, bytes }) => ({ bytes, knownPrint: parent?.prints.get(index) }));
    const packed = await packer.pack(requests, type);
    return packed.map((cluster, i) => [batch[i]?.index ?? 0, cluster]);
  };
  for (let at = 0; at < clusters.length || underWay.length > 0; ) {
    // One more than are worked on, so that none waits for this thread.
    while (at < clusters.length && underWay.length <= packer.parallel) {
      const batch = pack(clusters.slice(at, at + batchClusters));
      // When an earlier one fails nobody looks at this one any more.
      batch.catch(() => undefined);
      underWay.push(batch);
      at += batchClusters;
    }
    const first = await underWay.shift();
    if (first) yield first;
  }
}
