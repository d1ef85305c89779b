import { setImmediate as nextTurn } from "node:timers/promises";
import type { BlockDevice } from "../block-device.ts";
import type { CopyWatch } from "./convert-fast.ts";
import type { ConvertPlan } from "./convert-options.ts";
import type { ConvertSource } from "./convert-source.ts";
import { isQcow2 } from "./map-chain.ts";
import { findNonZeroRuns, isZero } from "./worker-sparse.ts";

/** As much as QEMU copies at a time. */
const BUFFER_BYTES = 2 * 1024 * 1024;
/** A target that keeps writes in memory until a flush is flushed this often. */
const FLUSH_BYTES = 64 * 1024 * 1024;

export interface DeviceCopyOptions {
  readonly plan: ConvertPlan;
  readonly read: (offsetBytes: number, target: Uint8Array) => Promise<void>;
  readonly watch: CopyWatch;
  /** What is not written reads as zeros: a new image with nothing behind it. */
  readonly hasZeroInit: boolean;
  /** What is behind the target is behind the source too: what the source does not have itself stays so. */
  readonly hasBacking: boolean;
  /** Size of the image behind a new target; past it the target has zeros of its own. */
  readonly backingBytes: number | undefined;
}

const Kind = { DATA: 0, ZERO: 1, BEHIND: 2 } as const;
type Kind = (typeof Kind)[keyof typeof Kind];

/**
 * Copies through the target's device, one piece after the other: for targets that already have content or an
 * image behind them, and for those that only the device can write.
 *
 * @throws ByreError what reading and writing meet.
 */
export async function copyToDevice(
  source: ConvertSource,
  target: BlockDevice,
  options: DeviceCopyOptions,
): Promise<void> {
  const { plan, watch } = options;
  const clusterBytes = isQcow2(target) ? target.info.clusterSizeBytes : 512;
  const maxBytes = plan.compress ? clusterBytes : BUFFER_BYTES;
  const buffer = Buffer.allocUnsafeSlow(maxBytes);
  for (let at = 0; at < source.sizeBytes; ) {
    // Ctrl-C is heard between turns only.
    await nextTurn();
    watch.signal.throwIfAborted();
    let { kind, lengthBytes } = await nextPiece(source, at, options);
    if (plan.compress) {
      // A compressed cluster is written whole, so what is alike in less than one counts as data.
      if (lengthBytes < clusterBytes) {
        kind = Kind.DATA;
        lengthBytes = Math.min(clusterBytes, source.sizeBytes - at);
      } else lengthBytes -= lengthBytes % clusterBytes;
    }
    const asData = kind === Kind.DATA || (kind === Kind.ZERO && plan.minZeroBytes === 0);
    if (asData) {
      lengthBytes = Math.min(lengthBytes, maxBytes);
      const bytes = buffer.subarray(0, lengthBytes);
      if (kind === Kind.DATA) await options.read(at, bytes);
      else bytes.fill(0);
      if (plan.compress) await writeCluster(target, at, bytes, clusterBytes, options);
      else await writeData(target, at, bytes, options);
    } else if (kind === Kind.ZERO) await writeZeros(target, at, lengthBytes, options);
    at += lengthBytes;
    if (target.dirtyBytes > FLUSH_BYTES) await target.flush();
    watch.progress(at);
  }
}

async function nextPiece(
  source: ConvertSource,
  offsetBytes: number,
  { hasBacking, backingBytes }: DeviceCopyOptions,
): Promise<{ kind: Kind; lengthBytes: number }> {
  let lengthBytes = source.sizeBytes - offsetBytes;
  let isPastBacking = false;
  if (backingBytes !== undefined) {
    isPastBacking = offsetBytes >= backingBytes;
    if (!isPastBacking) lengthBytes = Math.min(lengthBytes, backingBytes - offsetBytes);
  }
  const status = await source.status(offsetBytes, lengthBytes, hasBacking);
  if (status.zero) return { kind: isPastBacking ? Kind.BEHIND : Kind.ZERO, lengthBytes: status.lengthBytes };
  if (status.data) return { kind: Kind.DATA, lengthBytes: status.lengthBytes };
  return { kind: hasBacking ? Kind.BEHIND : Kind.DATA, lengthBytes: status.lengthBytes };
}

async function writeData(
  target: BlockDevice,
  offsetBytes: number,
  bytes: Buffer,
  options: DeviceCopyOptions,
): Promise<void> {
  const runs = findNonZeroRuns(bytes, offsetBytes, options.plan.minZeroBytes);
  let done = 0;
  for (let i = 0; i < runs.length; i += 2) {
    const start = runs[i] ?? 0;
    const end = start + (runs[i + 1] ?? 0);
    if (start > done) await writeZeros(target, offsetBytes + done, start - done, options);
    await target.write(offsetBytes + start, bytes.subarray(start, end));
    done = end;
  }
  if (done < bytes.length) await writeZeros(target, offsetBytes + done, bytes.length - done, options);
}

async function writeCluster(
  target: BlockDevice,
  offsetBytes: number,
  bytes: Buffer,
  clusterBytes: number,
  options: DeviceCopyOptions,
): Promise<void> {
  if (options.plan.minZeroBytes > 0 && isZero(bytes, 0, bytes.length))
    return await writeZeros(target, offsetBytes, bytes.length, options);
  if (!isQcow2(target)) throw new TypeError("only qcow2 has compressed clusters");
  const cluster = bytes.length < clusterBytes ? Buffer.concat([bytes], clusterBytes) : bytes;
  await target.writeCompressed(offsetBytes, cluster);
}

async function writeZeros(
  target: BlockDevice,
  offsetBytes: number,
  lengthBytes: number,
  { hasZeroInit, plan }: DeviceCopyOptions,
): Promise<void> {
  if (!hasZeroInit) await target.writeZeroes(offsetBytes, lengthBytes, { unmap: plan.minZeroBytes > 0 });
}
