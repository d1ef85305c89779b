import { ByreError, nextTurn, type StateReader } from "../disk/index.ts";
import type { LoadProgress } from "./machine.ts";
import { fingerprint, PRINT_BYTES, type Print, PrintTable, samePrint } from "./saved-clusters.ts";
import type { CaptureRoom } from "./state-capture.ts";
import type { StateExtent, StateHeader } from "./state-format.ts";
import type { CompressionType, PlainCluster, StatePacker } from "./state-packer.ts";
import { asStateError } from "./state-reading.ts";
import { checkGoing } from "./state-writing.ts";

/** Plain bytes asked for as one. */
const BATCH_BYTES = 512 * 1024;
/** Batches under way at once, so that the time to the first byte of a remote image does not add up. */
const BATCHES_UNDER_WAY = 6;
/** Most bytes looked at for runs at once. */
const RUN_BYTES = 64 * 1024 * 1024;

export interface StateLoading {
  packer: StatePacker;
  type: CompressionType;
  /** Has clusters of what was saved last. */
  room: CaptureRoom;
  /** Whether a cluster need not be read, since what it is to go to is the same already. */
  isThere?: ((index: number, print: Print) => boolean) | undefined;
  /** Takes a part of the state that is not all zeros; offset from the state's beginning. */
  put: (offsetBytes: number, bytes: Uint8Array<ArrayBuffer>) => void;
  onProgress: (done: LoadProgress) => void;
  signal: AbortSignal | undefined;
}

/** Clusters of 64 KiB, 24 microseconds each. */
const LOOKS_A_TURN = 256;

/** What of a state is stored, and what it is. */
export interface LoadedState {
  readonly prints: PrintTable;
  /** Clusters that are stored, in order; the others are zeros. */
  readonly stored: readonly number[];
  readonly clusterSizeBytes: number;
}

/**
 * Reads memory and devices of a state, in no particular order, and holds every cluster against its fingerprint.
 *
 * @throws ByreError STATE_INVALID when something is not what was saved; CANCELLED; what reading meets.
 */
export async function loadState(
  reader: StateReader,
  header: StateHeader,
  options: StateLoading,
): Promise<LoadedState> {
  try {
    return await loadClusters(reader, header, options);
  } catch (error) {
    throw asStateError(error, reader.snapshot.name);
  }
}

async function loadClusters(
  reader: StateReader,
  header: StateHeader,
  options: StateLoading,
): Promise<LoadedState> {
  const { clusterSizeBytes, snapshot } = reader;
  const expected = header.prints && (await readPrints(reader, header, header.prints));
  const stored = [
    ...(await storedClusters(reader, header.memory)),
    ...(await storedClusters(reader, header.device)),
  ];
  const damaged = (index: number) =>
    new ByreError(
      "STATE_INVALID",
      `The saved state "${snapshot.name}" is damaged: its cluster ${index} is not what was saved. Boot its disk as it was ` +
        "then instead.",
      { snapshot: snapshot.name, clusterIndex: index },
    );
  if (expected) {
    const there = new Set(stored);
    for (const index of expected.known()) if (!there.has(index)) throw damaged(index);
  }
  const end = header.device.offsetBytes + header.device.lengthBytes;
  const prints = new PrintTable(Math.ceil(end / clusterSizeBytes));
  // There is at most one copy of a guest's memory beside it.
  options.room.keepOnly(expected ?? prints);
  const put = (index: number, print: Print, bytes: Uint8Array<ArrayBuffer>) => {
    prints.set(index, print);
    options.put(index * clusterSizeBytes, bytes);
  };
  const wanted: number[] = [];
  for (const [i, index] of stored.entries()) {
    if (i % LOOKS_A_TURN === LOOKS_A_TURN - 1) await nextTurn();
    const print = expected?.get(index);
    const kept = print && options.room.find(index, print);
    if (kept) put(index, print, kept);
    else if (print && options.isThere?.(index, print)) prints.set(index, print);
    else wanted.push(index);
  }
  const totalBytes = wanted.length * clusterSizeBytes;
  let loadedBytes = 0;
  options.onProgress({ loadedBytes, totalBytes });
  const loadBatch = async (batch: readonly number[]) => {
    checkGoing(options.signal);
    const clusters = await readClusters(reader, batch, options);
    checkGoing(options.signal);
    for (const [i, { bytes, print }] of clusters.entries()) {
      const index = batch[i] ?? 0;
      const known = expected?.get(index);
      if (known && !samePrint(known, print)) throw damaged(index);
      put(index, print, bytes);
    }
    loadedBytes += batch.length * clusterSizeBytes;
    options.onProgress({ loadedBytes, totalBytes });
  };
  await eachBatch(wanted, Math.max(1, Math.floor(BATCH_BYTES / clusterSizeBytes)), loadBatch);
  checkGoing(options.signal);
  return { prints, stored, clusterSizeBytes };
}

/** Copies what of a part of a state lies in an extent of it. */
export function putInto(
  target: Uint8Array,
  extent: StateExtent,
  offsetBytes: number,
  bytes: Uint8Array,
): void {
  const at = offsetBytes - extent.offsetBytes;
  if (at < 0 || at >= target.length) return;
  target.set(at + bytes.length > target.length ? bytes.subarray(0, target.length - at) : bytes, at);
}

async function readClusters(
  reader: StateReader,
  batch: readonly number[],
  { packer, type }: StateLoading,
): Promise<PlainCluster[]> {
  const { clusterSizeBytes } = reader;
  const packed = await Promise.all(batch.map((index) => reader.readPacked(index)));
  const inputs = packed.filter((input) => input !== undefined);
  const unpacked = inputs.length === 0 ? [] : await packer.unpack(inputs, clusterSizeBytes, type);
  let next = 0;
  return Promise.all(
    batch.map(async (index, i) => {
      const plain = packed[i] ? unpacked[next++] : undefined;
      if (plain) return plain;
      // Plain; or damaged, and then this says so.
      const bytes = new Uint8Array(clusterSizeBytes);
      await reader.read(index * clusterSizeBytes, bytes);
      return { bytes, print: fingerprint(bytes) };
    }),
  );
}

/** Works on batches of clusters, several at once. The first failure ends it. */
async function eachBatch(
  clusters: readonly number[],
  batchClusters: number,
  work: (batch: readonly number[]) => Promise<void>,
): Promise<void> {
  let at = 0;
  let failed = false;
  const takeNext = async () => {
    while (at < clusters.length && !failed) {
      const batch = clusters.slice(at, at + batchClusters);
      at += batchClusters;
      try {
        await work(batch);
      } catch (error) {
        failed = true;
        throw error;
      }
    }
  };
  // All of them come to their end first: who loads anew must not get what comes late.
  const ended = await Promise.allSettled(Array.from({ length: BATCHES_UNDER_WAY }, takeNext));
  for (const each of ended) if (each.status === "rejected") throw each.reason;
}

async function storedClusters(
  reader: StateReader,
  { offsetBytes, lengthBytes }: StateExtent,
): Promise<number[]> {
  const { clusterSizeBytes } = reader;
  const stored: number[] = [];
  const end = Math.ceil((offsetBytes + lengthBytes) / clusterSizeBytes) * clusterSizeBytes;
  for (let at = offsetBytes; at < end; ) {
    const run = await reader.run(at, Math.min(RUN_BYTES, end - at));
    if (run.stored)
      for (let each = at; each < at + run.lengthBytes; each += clusterSizeBytes)
        stored.push(each / clusterSizeBytes);
    at += run.lengthBytes;
  }
  return stored;
}

async function readPrints(
  reader: StateReader,
  { memory, device }: StateHeader,
  extent: StateExtent,
): Promise<PrintTable | undefined> {
  const { clusterSizeBytes } = reader;
  const first = memory.offsetBytes / clusterSizeBytes;
  const end = Math.ceil((device.offsetBytes + device.lengthBytes) / clusterSizeBytes);
  // Of clusters of another size: the state was copied into an image of another kind.
  if (extent.lengthBytes !== (end - first) * PRINT_BYTES) return undefined;
  const bytes = new Uint8Array(extent.lengthBytes);
  await reader.read(extent.offsetBytes, bytes);
  return PrintTable.decode(first, bytes);
}
