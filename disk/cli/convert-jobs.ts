import type { Qcow2Image } from "../qcow2/image.ts";
import { findEntry, findL1, findRun, type Run } from "../qcow2/mapping.ts";
import { untilReady } from "../qcow2/needs.ts";
import { type Job, type JobFile, MAX_JOB_BYTES, PIECE_NUMBERS, PieceKind } from "./worker-job.ts";

/** An image of a chain whose bytes threads can find for themselves, in a plain file. */
export interface DirectLayer {
  readonly path: string;
  readonly sizeBytes: number;
  /** Its tables; undefined for a raw image. */
  readonly image: Qcow2Image | undefined;
}

export interface JobPlan {
  readonly sizeBytes: number;
  /** Also jobs for what is known to be zeros: they are to be written. */
  readonly withZeros: boolean;
}

/** The files of the jobs of `planDirectJobs`, top first. */
export function filesOf(layers: readonly DirectLayer[]): JobFile[] {
  return layers.map(({ path, image }) => ({
    path,
    compression: image && (image.header.compressionType === 1 ? "zstd" : "zlib"),
    clusterSizeBytes: image?.clusterSizeBytes ?? MAX_JOB_BYTES,
  }));
}

/**
 * Cuts a disk into jobs that say where in which file each piece stands: this thread reads the tables, others
 * the data.
 *
 * @param layers the image and what is behind it, top first.
 * @throws ByreError CORRUPT, TRUNCATED, and what reading the tables meets.
 */
export async function* planDirectJobs(
  layers: readonly DirectLayer[],
  { sizeBytes, withZeros }: JobPlan,
): AsyncGenerator<Job> {
  for (let start = 0; start < sizeBytes; ) {
    const lengthBytes = Math.min(MAX_JOB_BYTES - (start % MAX_JOB_BYTES), sizeBytes - start);
    const pieces: number[] = [];
    let at = start;
    while (at < start + lengthBytes) {
      const piece = await locate(layers, 0, at, sizeBytes - at);
      const inJob = Math.min(piece.lengthBytes, start + lengthBytes - at);
      if (piece.numbers) pieces.push(...placed(piece.numbers, at - start, inJob));
      else if (pieces.length === 0 && piece.lengthBytes > inJob && !withZeros) {
        // A hole that goes on: the next job begins where it ends.
        at += piece.lengthBytes;
        break;
      }
      at += inJob;
    }
    if (pieces.length > 0 || withZeros)
      yield { offsetBytes: start, lengthBytes, pieces: new Float64Array(pieces) };
    start = Math.max(start + lengthBytes, at === sizeBytes ? at : at - (at % MAX_JOB_BYTES));
  }
}

/** What a device knows of a range without reading it. */
export type RegionStatus = (
  offsetBytes: number,
  lengthBytes: number,
) => Promise<{ readonly zero: boolean; readonly lengthBytes: number }>;

/**
 * Cuts a disk into jobs that carry the bytes themselves, read through the device: for what only the device
 * can read (encrypted images, images inside other files, on the web, several one after the other).
 *
 * @throws what `read` and `status` throw.
 */
export async function* planReadJobs(
  read: (offsetBytes: number, target: Uint8Array) => Promise<void>,
  status: RegionStatus,
  { sizeBytes, withZeros }: JobPlan,
): AsyncGenerator<Job> {
  for (let start = 0; start < sizeBytes; ) {
    const lengthBytes = Math.min(MAX_JOB_BYTES - (start % MAX_JOB_BYTES), sizeBytes - start);
    const regions: number[] = [];
    let bytes: Uint8Array<ArrayBuffer> | undefined;
    let at = start;
    while (at < start + lengthBytes) {
      const region = await status(at, sizeBytes - at);
      const inJob = Math.min(region.lengthBytes, start + lengthBytes - at);
      if (!region.zero) {
        bytes ??= new Uint8Array(lengthBytes);
        await read(at, bytes.subarray(at - start, at - start + inJob));
        regions.push(at - start, inJob);
      } else if (!bytes && region.lengthBytes > inJob && !withZeros) {
        // Zeros that go on: the next job begins where they end.
        at += region.lengthBytes;
        break;
      }
      at += inJob;
    }
    if (withZeros) bytes ??= new Uint8Array(lengthBytes);
    // Once yielded the bytes are another thread's.
    if (bytes) yield { offsetBytes: start, lengthBytes, bytes, regions };
    start = Math.max(start + lengthBytes, at === sizeBytes ? at : at - (at % MAX_JOB_BYTES));
  }
}

interface Located {
  readonly lengthBytes: number;
  /** kind, file, host offset, host length, skip; undefined for zeros. */
  readonly numbers: readonly [number, number, number, number, number] | undefined;
}

async function locate(
  layers: readonly DirectLayer[],
  index: number,
  offsetBytes: number,
  maxBytes: number,
): Promise<Located> {
  const layer = layers[index];
  // Past the end of a shorter backing image, and behind the last one, there are zeros.
  if (!layer || offsetBytes >= layer.sizeBytes) return { lengthBytes: maxBytes, numbers: undefined };
  const lengthBytes = Math.min(maxBytes, layer.sizeBytes - offsetBytes);
  if (!layer.image) return { lengthBytes, numbers: [PieceKind.PLAIN, index, offsetBytes, 0, 0] };
  const run = await runAt(layer.image, offsetBytes, lengthBytes);
  if (run === undefined || run.kind === "unallocated")
    return await locate(
      layers,
      index + 1,
      offsetBytes,
      run?.lengthBytes ?? Math.min(lengthBytes, toTableEnd(layer.image, offsetBytes)),
    );
  if (run.kind === "zero") return { lengthBytes: run.lengthBytes, numbers: undefined };
  if (run.entry.kind === "compressed") {
    const skip = offsetBytes % layer.image.clusterSizeBytes;
    const { hostOffsetBytes, lengthBytes: hostLength } = run.entry;
    return {
      lengthBytes: run.lengthBytes,
      numbers: [PieceKind.COMPRESSED, index, hostOffsetBytes, hostLength, skip],
    };
  }
  return { lengthBytes: run.lengthBytes, numbers: [PieceKind.PLAIN, index, run.hostOffsetBytes, 0, 0] };
}

/** @returns undefined where there is no L2 table. */
async function runAt(image: Qcow2Image, offsetBytes: number, maxBytes: number): Promise<Run | undefined> {
  const { l2OffsetBytes } = findL1(image, offsetBytes);
  if (l2OffsetBytes === 0) return undefined;
  const place =
    findEntry(image, l2OffsetBytes, offsetBytes, []) ??
    (await untilReady((needs) => findEntry(image, l2OffsetBytes, offsetBytes, needs)));
  return findRun(image, place, offsetBytes, maxBytes);
}

function toTableEnd(image: Qcow2Image, offsetBytes: number): number {
  return image.l2ReachBytes - (offsetBytes % image.l2ReachBytes);
}

function placed(
  [kind, file, host, hostLength, skip]: readonly [number, number, number, number, number],
  start: number,
  lengthBytes: number,
): number[] {
  const numbers = [kind, file, start, lengthBytes, host, hostLength, skip];
  if (numbers.length !== PIECE_NUMBERS) throw new TypeError("a piece has other numbers");
  return numbers;
}
