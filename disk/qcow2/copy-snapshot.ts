import { ByreError } from "../errors.ts";
import { nextTurn } from "../next-turn.ts";
import { untilReady } from "./needs.ts";
import type { Qcow2Device } from "./qcow2-device.ts";
import { Reader } from "./reader.ts";
import type { Qcow2Snapshot } from "./snapshot-table.ts";
import { findSnapshot } from "./snapshots.ts";
import { hasSnapshot, type StateReader } from "./state-reader.ts";
import type { FinishStateOptions } from "./state-writer.ts";

/** Most bytes copied at once. */
const PIECE_BYTES = 1024 * 1024;
/** So long the copying goes on before it lets others have a turn: below what a person or a guest notices. */
const TURN_MS = 8;

export interface CopyOptions {
  /** Told how much is done, 0 to 1. */
  onProgress?: (fraction: number) => void;
  /** Ends the copying with CANCELLED; what was written of it until then stays in the copy. */
  signal?: AbortSignal;
}

export interface CopySnapshotOptions extends CopyOptions {
  /** Whether the copy's disk is then as the snapshot has it, or empty. Default: true. */
  applied?: boolean;
}

/**
 * Copies a snapshot into another image: what it stores itself of disk and VM state, and not what is behind it.
 * Clusters that are zeros or compressed stay so. A guest may write to `from` meanwhile.
 *
 * @param idOrName an id goes before a name.
 * @param to an empty image of the same size, cluster size and backing.
 * @returns the snapshot in the copy: of the same name, date and clock.
 * @throws ByreError SNAPSHOT_NOT_FOUND (also when it is deleted meanwhile), INVALID_ARGUMENT when the images do
 *   not go together, CANCELLED; as reading `from` and writing `to`. The copy is not whole then.
 */
export async function copySnapshot(
  from: Qcow2Device,
  idOrName: string,
  to: Qcow2Device,
  options: CopySnapshotOptions = {},
): Promise<Qcow2Snapshot> {
  const snapshot = findSnapshot(from.image, idOrName);
  const { name, dateSeconds, dateNanoseconds, vmClockNanoseconds, vmStateBytes, icount } = snapshot;
  checkFits(from, snapshot.diskBytes, to);
  const run = new CopyRun(options, snapshot.diskBytes + vmStateBytes, () => {
    // What its tables say may be some other's by now.
    if (!hasSnapshot(from.image, snapshot)) findSnapshot(from.image, snapshot.id);
  });
  const disk = await from.openSnapshot(snapshot.id);
  const state = await from.openState(snapshot.id);
  await copyStored(disk, to, run);
  const when = { name, dateSeconds, dateNanoseconds, vmClockNanoseconds };
  const copied =
    vmStateBytes > 0
      ? await copyState(state, from, to, run, when)
      : await to.createSnapshot({ ...when, ...(icount !== undefined && { icount }) });
  if (options.applied === false) await to.makeEmpty();
  return copied;
}

/**
 * Copies a disk as it is now, without its snapshots, as `copySnapshot` does. Nobody may write to it meanwhile.
 *
 * @throws ByreError as `copySnapshot`.
 */
export async function copyDisk(from: Qcow2Device, to: Qcow2Device, options: CopyOptions = {}): Promise<void> {
  checkFits(from, from.sizeBytes, to);
  await copyStored(from, to, new CopyRun(options, from.sizeBytes, () => {}));
  await to.flush();
}

async function copyStored(from: Qcow2Device, to: Qcow2Device, run: CopyRun): Promise<void> {
  const { sizeBytes } = from;
  const reader = new Reader(from.image, undefined);
  const mostBytes = Math.max(PIECE_BYTES, from.header.clusterSizeBytes);
  for (let at = 0; at < sizeBytes; ) {
    const most = Math.min(mostBytes, sizeBytes - at);
    const { allocated, zero, compressed, lengthBytes } = await from.blockStatus(at, most);
    if (zero) await to.writeZeroes(at, lengthBytes, { unmap: true });
    else if (allocated) {
      const offset = at;
      const packed =
        compressed && canTakePacked(from, to)
          ? await untilReady((needs) => reader.tryReadPacked(offset, needs))
          : "not packed";
      if (packed !== "not packed") await to.writePacked(at, trimmed(from, packed, at));
      else {
        const plain = new Uint8Array(lengthBytes);
        await from.read(at, plain);
        await to.write(at, plain);
      }
    }
    at += lengthBytes;
    await run.advance(lengthBytes);
  }
}

async function copyState(
  state: StateReader,
  from: Qcow2Device,
  to: Qcow2Device,
  run: CopyRun,
  when: Omit<FinishStateOptions, "vmStateBytes">,
): Promise<Qcow2Snapshot> {
  const { clusterSizeBytes, sizeBytes } = state;
  const writer = await to.beginState({ maxStateBytes: sizeBytes });
  try {
    for (let at = 0; at < sizeBytes; ) {
      const { stored, lengthBytes } = await state.run(at, sizeBytes - at);
      const end = at + lengthBytes;
      for (; stored && at < end; at += clusterSizeBytes) {
        const index = at / clusterSizeBytes;
        const packed = canTakePacked(from, to) ? await state.readPacked(index) : undefined;
        if (packed) await writer.writePacked(index, trimmed(from, packed, at));
        else {
          const plain = new Uint8Array(clusterSizeBytes);
          await state.read(at, plain);
          await writer.writeCluster(index, plain);
        }
        await run.advance(clusterSizeBytes);
      }
      if (stored) continue;
      at = Math.ceil(end / clusterSizeBytes) * clusterSizeBytes;
      await run.advance(lengthBytes);
    }
    return await writer.finish({ ...when, vmStateBytes: sizeBytes });
  } catch (error) {
    await writer.cancel();
    throw error;
  }
}

/** A compressed cluster's data without what else is in its last sector, so that copies of copies do not grow. */
function trimmed({ image }: Qcow2Device, packed: Uint8Array, offsetBytes: number): Uint8Array {
  const lengthBytes = image.codec.packedLength(packed, image.clusterSizeBytes);
  if (lengthBytes !== undefined) return packed.subarray(0, lengthBytes);
  throw image.damagedData("the compressed data of a cluster to be copied is damaged", offsetBytes);
}

function canTakePacked(from: Qcow2Device, to: Qcow2Device): boolean {
  return from.header.compressionType === to.header.compressionType && to.image.cipher === undefined;
}

function checkFits(from: Qcow2Device, diskBytes: number, to: Qcow2Device): void {
  const { clusterSizeBytes } = from.header;
  if (to.sizeBytes === diskBytes && to.header.clusterSizeBytes === clusterSizeBytes) return;
  throw new ByreError(
    "INVALID_ARGUMENT",
    `${to.name} is to be a copy of ${from.name}: its disk must have ${diskBytes} bytes in clusters of ` +
      `${clusterSizeBytes}, and has ${to.sizeBytes} in clusters of ${to.header.clusterSizeBytes}.`,
    { file: to.name, sizeBytes: to.sizeBytes, wantedBytes: diskBytes },
  );
}

/** Progress, cancelling and turns of one copying. */
export class CopyRun {
  private doneBytes = 0;
  private turnStartMs = performance.now();

  constructor(
    private readonly options: CopyOptions,
    private readonly totalBytes: number,
    private readonly check: () => void,
  ) {}

  async advance(lengthBytes: number): Promise<void> {
    const { onProgress, signal } = this.options;
    this.doneBytes += lengthBytes;
    this.check();
    if (signal?.aborted) throw new ByreError("CANCELLED", "The copying was cancelled.", {}, signal.reason);
    onProgress?.(Math.min(1, this.doneBytes / this.totalBytes));
    if (performance.now() - this.turnStartMs < TURN_MS) return;
    await nextTurn();
    this.turnStartMs = performance.now();
  }
}
