import { setImmediate as nextTurn } from "node:timers/promises";
import type { BlockDevice } from "../block-device.ts";
import type { Qcow2Device } from "../qcow2/qcow2-device.ts";
import type { CopyWatch } from "./convert-fast.ts";
import type { ConvertSource } from "./convert-source.ts";
import { ExitCode, ExitError } from "./exit.ts";
import { isQcow2 } from "./map-chain.ts";
import { isZero } from "./worker-sparse.ts";

const BUFFER_BYTES = 2 * 1024 * 1024;
/** What is written and not yet flushed stays in memory; so much of it at most. */
const FLUSH_BYTES = 64 * 1024 * 1024;

export interface SnapshotCopyOptions {
  readonly compress: boolean;
  readonly watch: CopyWatch;
}

/**
 * Copies a disk and all its internal snapshots into a new image: the target goes through the states that the
 * source was in, oldest first, and of each only what differs from the one before is written. So the disk's
 * clusters are shared as they were; each machine state is copied whole.
 *
 * @throws ExitError when there are no snapshots to speak of; ByreError what reading and writing meet.
 */
export async function copyWithSnapshots(
  source: ConvertSource,
  target: BlockDevice,
  options: SnapshotCopyOptions,
): Promise<void> {
  const [part] = source.parts;
  const device = part?.layers[0]?.qcow2;
  if (!device || source.parts.length > 1 || !isQcow2(target))
    throw new ExitError(ExitCode.FAILED, "--with-snapshots copies one qcow2 image into another.");
  const steps = device.snapshots.length + 1;
  for (const [step, snapshot] of device.snapshots.entries()) {
    const view = await device.openSnapshot(snapshot.id);
    try {
      await bringTo(view, target, options, (fraction) =>
        progress(options, source, (step + fraction) / steps),
      );
      await copyVmState(view, target, snapshot.vmStateBytes);
    } finally {
      await view.close();
    }
    await target.createSnapshot({
      name: snapshot.name,
      dateSeconds: snapshot.dateSeconds,
      dateNanoseconds: snapshot.dateNanoseconds,
      vmClockNanoseconds: snapshot.vmClockNanoseconds,
      vmStateBytes: snapshot.vmStateBytes,
    });
  }
  await bringTo(device, target, options, (fraction) =>
    progress(options, source, (steps - 1 + fraction) / steps),
  );
}

/** Copies what a machine's memory held; zeros of it need no room. */
async function copyVmState(view: Qcow2Device, target: Qcow2Device, lengthBytes: number): Promise<void> {
  const { clusterSizeBytes } = target.info;
  const stepBytes = Math.max(clusterSizeBytes, BUFFER_BYTES);
  for (let at = 0; at < lengthBytes; at += stepBytes) {
    const bytes = Buffer.allocUnsafe(Math.min(stepBytes, lengthBytes - at));
    await view.readVmState(at, bytes);
    for (let start = 0; start < bytes.length; start += clusterSizeBytes) {
      const end = Math.min(bytes.length, start + clusterSizeBytes);
      if (!isZero(bytes, start, end)) await target.writeVmState(at + start, bytes.subarray(start, end));
    }
    if (target.dirtyBytes > FLUSH_BYTES) await target.flush();
  }
}

function progress({ watch }: SnapshotCopyOptions, source: ConvertSource, fraction: number): void {
  watch.progress(Math.floor(fraction * source.sizeBytes));
}

/** Makes the target read as the source does, writing only clusters that differ. */
async function bringTo(
  source: BlockDevice,
  target: Qcow2Device,
  options: SnapshotCopyOptions,
  onProgress: (fraction: number) => void,
): Promise<void> {
  const { clusterSizeBytes } = target.info;
  if (target.sizeBytes !== source.sizeBytes) await target.resize(source.sizeBytes, { shrink: true });
  const stepBytes = Math.max(clusterSizeBytes, BUFFER_BYTES);
  const wanted = Buffer.allocUnsafeSlow(stepBytes);
  const present = Buffer.allocUnsafeSlow(stepBytes);
  for (let at = 0; at < source.sizeBytes; ) {
    // Ctrl-C is heard between turns only.
    await nextTurn();
    options.watch.signal.throwIfAborted();
    const zeros = Math.min(await zerosAt(source, at), await zerosAt(target, at));
    const skipped = zeros === source.sizeBytes - at ? zeros : zeros - (zeros % clusterSizeBytes);
    if (skipped > 0) {
      at += skipped;
      continue;
    }
    const length = Math.min(stepBytes, source.sizeBytes - at);
    await source.read(at, wanted.subarray(0, length));
    await target.read(at, present.subarray(0, length));
    for (let start = 0; start < length; start += clusterSizeBytes) {
      const end = Math.min(length, start + clusterSizeBytes);
      if (wanted.compare(present, start, end, start, end) === 0) continue;
      await writeCluster(target, at + start, wanted.subarray(start, end), options);
    }
    at += length;
    if (target.dirtyBytes > FLUSH_BYTES) await target.flush();
    onProgress(at / source.sizeBytes);
  }
}

async function writeCluster(
  target: Qcow2Device,
  offsetBytes: number,
  bytes: Buffer,
  { compress }: SnapshotCopyOptions,
): Promise<void> {
  const { clusterSizeBytes } = target.info;
  if (isZero(bytes, 0, bytes.length)) await target.writeZeroes(offsetBytes, bytes.length, { unmap: true });
  else if (compress) await target.writeCompressed(offsetBytes, Buffer.concat([bytes], clusterSizeBytes));
  else await target.write(offsetBytes, bytes);
}

/** Bytes that the image itself says are zeros, from an offset on. */
async function zerosAt(device: BlockDevice, offsetBytes: number): Promise<number> {
  const backing = isQcow2(device) ? device.backing : undefined;
  let at = offsetBytes;
  while (at < device.sizeBytes) {
    const status = await device.blockStatus(at, device.sizeBytes - at);
    if (!status.zero && (status.allocated || (backing && at < backing.sizeBytes))) break;
    at += status.lengthBytes;
  }
  return at - offsetBytes;
}
