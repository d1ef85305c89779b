import { closeSync, openSync, readSync, writeSync } from "node:fs";
import { ByreError } from "../errors.ts";
import { hostError } from "../files/node-errors.ts";
import type { ClusterCodec } from "../qcow2/compression.ts";
import { type CompressionName, loadNodeCodec, unpackCluster } from "./worker-codec.ts";
import { findNonZeroRuns, isZero } from "./worker-sparse.ts";

/** A file that jobs read, which every thread opens for itself. */
export interface JobFile {
  readonly path: string;
  /** Of its compressed clusters, if it can have any. */
  readonly compression: CompressionName | undefined;
  readonly clusterSizeBytes: number;
}

/** What all jobs of one conversion share. */
export interface JobSetup {
  readonly files: readonly JobFile[];
  /** Zeros of at least this many bytes are not written; 0 writes all. */
  readonly minZeroBytes: number;
  readonly target: JobTarget;
}

export type JobTarget =
  /** Bytes go to where they stand on the disk; the file is there already, and as long as the disk. */
  | { readonly kind: "raw"; readonly path: string }
  /** Clusters come back, in the disk's order, to be laid into an image. */
  | {
      readonly kind: "clusters";
      readonly clusterSizeBytes: number;
      readonly compression: CompressionName | undefined;
    };

/** How the bytes of a piece are stored. */
export const PieceKind = { PLAIN: 0, COMPRESSED: 1 } as const;
/**
 * Numbers that tell one piece: kind, file, offset in the job, length, host offset; for a compressed one also
 * the length of its data, and where in the unpacked cluster it begins.
 */
export const PIECE_NUMBERS = 7;

/** A stretch of the disk to be made; at most `MAX_JOB_BYTES`. */
export interface Job {
  readonly offsetBytes: number;
  readonly lengthBytes: number;
  /** Where its bytes come from, `PIECE_NUMBERS` numbers each, in the disk's order. The rest is zeros. */
  readonly pieces?: Float64Array<ArrayBuffer>;
  /** Instead of pieces: the bytes themselves ... */
  readonly bytes?: Uint8Array<ArrayBuffer>;
  /** ... and which of them are more than known zeros: start in the job and length, in the disk's order. */
  readonly regions?: readonly number[];
}

/** What a job gives back. */
export interface JobResult {
  /** For each cluster 0 for zeros, `PLAIN_CLUSTER`, or the length of the compressed data. */
  readonly sizes: Int32Array<ArrayBuffer>;
  /** What is not zeros, one after the other. */
  readonly bytes: Uint8Array<ArrayBuffer>;
}

export const PLAIN_CLUSTER = -1;

/** As much as QEMU copies at a time. A multiple of every cluster size. */
export const MAX_JOB_BYTES = 2 * 1024 * 1024;

const NO_RESULT: JobResult = { sizes: new Int32Array(0), bytes: new Uint8Array(0) };

/** Does jobs, one after the other and all of each in one call, in whatever thread it is in. */
export class JobRunner {
  private readonly buffer = Buffer.allocUnsafeSlow(MAX_JOB_BYTES);
  private readonly sources: (JobFile & { fd: number; codec: ClusterCodec | undefined })[] = [];
  private targetFd = -1;
  private packer: ClusterCodec | undefined;

  private constructor(private readonly setup: JobSetup) {}

  /** @throws ByreError NOT_FOUND, ACCESS_DENIED ... for a file that cannot be opened. */
  static async open(setup: JobSetup): Promise<JobRunner> {
    const runner = new JobRunner(setup);
    try {
      for (const file of setup.files) {
        const codec = file.compression && (await loadNodeCodec(file.compression));
        runner.sources.push({ ...file, codec, fd: openFile(file.path, "r") });
      }
      const { target } = setup;
      if (target.kind === "raw") runner.targetFd = openFile(target.path, "r+");
      else if (target.compression) runner.packer = await loadNodeCodec(target.compression);
      return runner;
    } catch (error) {
      runner.close();
      throw error;
    }
  }

  /** @throws ByreError what reading or writing met, CORRUPT for damaged compressed data. */
  run(job: Job): JobResult {
    const plain = this.read(job);
    const { target } = this.setup;
    if (target.kind === "clusters") return this.pack(job, plain, target.clusterSizeBytes);
    const runs = this.runsToWrite(job, plain);
    for (let i = 0; i < runs.length; i += 2) {
      const start = runs[i] ?? 0;
      writeAll(
        this.targetFd,
        plain.subarray(start, start + (runs[i + 1] ?? 0)),
        job.offsetBytes + start,
        target.path,
      );
    }
    return NO_RESULT;
  }

  close(): void {
    for (const { fd } of this.sources) closeSync(fd);
    if (this.targetFd >= 0) closeSync(this.targetFd);
  }

  private read(job: Job): Buffer {
    const { bytes, pieces } = job;
    if (bytes) return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const plain = this.buffer.subarray(0, job.lengthBytes);
    let filledTo = 0;
    for (let at = 0; pieces && at < pieces.length; ) {
      const start = pieces[at + 2] ?? 0;
      plain.fill(0, filledTo, start);
      at =
        pieces[at] === PieceKind.PLAIN ? this.readPlain(plain, pieces, at) : this.unpack(plain, pieces, at);
      filledTo = (pieces[at - PIECE_NUMBERS + 2] ?? 0) + (pieces[at - PIECE_NUMBERS + 3] ?? 0);
    }
    plain.fill(0, filledTo);
    return plain;
  }

  private readPlain(plain: Buffer, pieces: Float64Array, at: number): number {
    const [file = 0, start = 0, length = 0, host = 0] = pieces.subarray(at + 1, at + 5);
    const source = this.sourceOf(file);
    const part = plain.subarray(start, start + length);
    // A file may end inside its last cluster: what is missing was never written, and reads as zeros.
    part.fill(0, readUpTo(source.fd, part, host, source.path));
    return at + PIECE_NUMBERS;
  }

  /** Unpacks a piece, and with it those after it that stand next to it in the file: one read for all. */
  private unpack(plain: Buffer, pieces: Float64Array, at: number): number {
    const file = pieces[at + 1] ?? 0;
    const { fd, path, codec, clusterSizeBytes } = this.sourceOf(file);
    const from = pieces[at + 4] ?? 0;
    let to = from;
    let end = at;
    while (end < pieces.length) {
      const [kind, itsFile, , , host = 0, hostLength = 0] = pieces.subarray(end, end + PIECE_NUMBERS);
      if (kind !== PieceKind.COMPRESSED || itsFile !== file || host < from || host > to) break;
      if (host + hostLength - from > MAX_JOB_BYTES && end > at) break;
      to = Math.max(to, host + hostLength);
      end += PIECE_NUMBERS;
    }
    const packed = Buffer.allocUnsafe(to - from);
    const available = readUpTo(fd, packed, from, path);
    if (!codec) throw new ByreError("INTERNAL", `${path} is said to have no compressed clusters.`);
    for (; at < end; at += PIECE_NUMBERS) {
      const [, , start = 0, length = 0, host = 0, hostLength = 0, skip = 0] = pieces.subarray(
        at,
        at + PIECE_NUMBERS,
      );
      const input = packed.subarray(host - from, Math.min(available, host - from + hostLength));
      const cluster = unpackCluster(codec, input, clusterSizeBytes, path, host);
      plain.set(length < cluster.length ? cluster.subarray(skip, skip + length) : cluster, start);
    }
    return end;
  }

  private pack(job: Job, plain: Buffer, clusterSizeBytes: number): JobResult {
    const count = Math.ceil(plain.length / clusterSizeBytes);
    const sizes = new Int32Array(count);
    if (this.packer) return this.compress(plain, clusterSizeBytes, sizes, this.packer);
    const runs = this.runsToWrite(job, plain);
    for (let i = 0; i < runs.length; i += 2) {
      const start = runs[i] ?? 0;
      const last = Math.floor((start + (runs[i + 1] ?? 0) - 1) / clusterSizeBytes);
      sizes.fill(PLAIN_CLUSTER, Math.floor(start / clusterSizeBytes), last + 1);
    }
    const parts: Uint8Array[] = [];
    for (let i = 0; i < count; i++)
      if (sizes[i] !== 0) parts.push(wholeCluster(plain, i * clusterSizeBytes, clusterSizeBytes));
    return { sizes, bytes: concatenate(parts) };
  }

  /**
   * What of a job is written: pairs of start and length. Zeros are looked for in each piece by itself, as QEMU
   * does, so that what is known to be zeros is never written for the sake of what is beside it.
   */
  private runsToWrite({ offsetBytes, pieces, regions }: Job, plain: Buffer): number[] {
    const { minZeroBytes } = this.setup;
    if (minZeroBytes === 0) return [0, plain.length];
    const runs: number[] = [];
    const look = (start: number, length: number) => {
      const part = plain.subarray(start, start + length);
      const found = findNonZeroRuns(part, offsetBytes + start, minZeroBytes);
      for (let i = 0; i < found.length; i += 2) {
        const at = start + (found[i] ?? 0);
        const bytes = found[i + 1] ?? 0;
        const last = runs.length - 2;
        // One write for what follows on.
        if (last >= 0 && (runs[last] ?? 0) + (runs[last + 1] ?? 0) === at)
          runs[last + 1] = (runs[last + 1] ?? 0) + bytes;
        else runs.push(at, bytes);
      }
    };
    if (regions) for (let i = 0; i < regions.length; i += 2) look(regions[i] ?? 0, regions[i + 1] ?? 0);
    else if (pieces)
      for (let at = 0; at < pieces.length; at += PIECE_NUMBERS)
        look(pieces[at + 2] ?? 0, pieces[at + 3] ?? 0);
    return runs;
  }

  private compress(
    plain: Buffer,
    clusterSizeBytes: number,
    sizes: Int32Array<ArrayBuffer>,
    packer: ClusterCodec,
  ): JobResult {
    const parts: Uint8Array[] = [];
    for (let i = 0; i < sizes.length; i++) {
      const start = i * clusterSizeBytes;
      const end = Math.min(plain.length, start + clusterSizeBytes);
      if (this.setup.minZeroBytes > 0 && isZero(plain, start, end)) continue;
      const cluster = wholeCluster(plain, start, clusterSizeBytes);
      const packed = packer.compress(cluster);
      sizes[i] = packed?.length ?? PLAIN_CLUSTER;
      parts.push(packed ?? cluster);
    }
    return { sizes, bytes: concatenate(parts) };
  }

  private sourceOf(file: number): JobFile & { fd: number; codec: ClusterCodec | undefined } {
    const source = this.sources[file];
    if (!source) throw new ByreError("INTERNAL", `A job names file ${file}, which it does not have.`);
    return source;
  }
}

/** A disk may end inside its last cluster; an image's cluster is whole. */
function wholeCluster(plain: Buffer, start: number, clusterSizeBytes: number): Buffer {
  const part = plain.subarray(start, start + clusterSizeBytes);
  if (part.length === clusterSizeBytes) return part;
  const whole = Buffer.alloc(clusterSizeBytes);
  whole.set(part);
  return whole;
}

function concatenate(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

function openFile(path: string, flags: "r" | "r+"): number {
  try {
    return openSync(path, flags);
  } catch (error) {
    throw hostError(error, path, "open");
  }
}

/** @returns bytes read: fewer than asked only at the end of the file. */
export function readUpTo(fd: number, target: Uint8Array, offsetBytes: number, path: string): number {
  let done = 0;
  try {
    while (done < target.length) {
      const count = readSync(fd, target, done, target.length - done, offsetBytes + done);
      if (count === 0) break;
      done += count;
    }
  } catch (error) {
    throw hostError(error, path, "read");
  }
  return done;
}

export function writeAll(fd: number, bytes: Uint8Array, offsetBytes: number, path: string): void {
  try {
    for (let done = 0; done < bytes.length; )
      done += writeSync(fd, bytes, done, bytes.length - done, offsetBytes + done);
  } catch (error) {
    throw hostError(error, path, "write");
  }
}
