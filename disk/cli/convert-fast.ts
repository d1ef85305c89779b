import { closeSync, fsyncSync, ftruncateSync, openSync } from "node:fs";
import { hostError } from "../files/node-errors.ts";
import { openNodeFile } from "../files/node-file.ts";
import { BulkBuilder } from "../qcow2/bulk-builder.ts";
import { filesOf, planDirectJobs, planReadJobs } from "./convert-jobs.ts";
import type { ConvertPlan } from "./convert-options.ts";
import type { ConvertSource } from "./convert-source.ts";
import type { CompressionName } from "./worker-codec.ts";
import { type Job, type JobResult, type JobSetup, type JobTarget, writeAll } from "./worker-job.ts";
import { defaultThreads, openJobPool, runJobs } from "./worker-pool.ts";

/** Below this much work a thread is not worth its start of 30 ms: bytes to copy, and bytes to compress. */
const COPY_ALONE_BYTES = 32 * 1024 * 1024;
const COMPRESS_ALONE_BYTES = 4 * 1024 * 1024;

/** QEMU writes so much of every new raw file at once, zeros or not, to learn the file system's block size. */
const FIRST_BLOCK_BYTES = 4096;

/** How the work goes on. */
export interface CopyWatch {
  /** @param offsetBytes up to where the target is written. */
  progress(offsetBytes: number): void;
  readonly signal: AbortSignal;
}

export interface FastCopyOptions {
  readonly plan: ConvertPlan;
  /** Reads through the devices, even where threads could read the files themselves. */
  readonly read: (offsetBytes: number, target: Uint8Array) => Promise<void>;
  readonly throughDevice: boolean;
  readonly watch: CopyWatch;
  /** For tests: that so many threads do everything; 0 is none but this. */
  readonly threads?: number | undefined;
}

/**
 * Copies into a raw file, which is emptied first and then as long as the disk.
 *
 * @throws ByreError what reading and writing meet.
 */
export async function copyToRawFile(
  source: ConvertSource,
  path: string,
  options: FastCopyOptions,
): Promise<void> {
  const { plan } = options;
  const fd = openTarget(path, "w+");
  try {
    attempt(path, "write", () => ftruncateSync(fd, source.sizeBytes));
    writeAll(fd, Buffer.alloc(Math.min(FIRST_BLOCK_BYTES, source.sizeBytes)), 0, path);
    const preallocated = (plan.createValues.get("preallocation") ?? "off") !== "off";
    const target: JobTarget = { kind: "raw", path };
    const minZeroBytes = preallocated ? 0 : plan.minZeroBytes;
    await copy(source, { ...options, plan: { ...plan, minZeroBytes } }, target, () => {});
    if (plan.sync) attempt(path, "write", () => fsyncSync(fd));
  } finally {
    closeSync(fd);
  }
}

/**
 * Copies into an image that was just made and has nothing preallocated.
 *
 * @throws ByreError as `copyToRawFile`. What was copied until then is in the image, which is whole.
 */
export async function copyToNewImage(
  source: ConvertSource,
  path: string,
  compression: CompressionName | undefined,
  clusterSizeBytes: number,
  options: FastCopyOptions,
): Promise<void> {
  const fd = openTarget(path, "r+");
  try {
    const file = await openNodeFile(path);
    const builder = await BulkBuilder.open(file, (offset, bytes) =>
      writeAll(fd, bytes, offset, path),
    ).finally(() => file.close());
    try {
      await copy(source, options, { kind: "clusters", clusterSizeBytes, compression }, (result, offset) =>
        builder.addClusters(offset / clusterSizeBytes, result.sizes, result.bytes),
      );
    } finally {
      const lengthBytes = builder.finish();
      attempt(path, "write", () => ftruncateSync(fd, lengthBytes));
    }
    if (options.plan.sync) attempt(path, "write", () => fsyncSync(fd));
  } finally {
    closeSync(fd);
  }
}

async function copy(
  source: ConvertSource,
  { plan, read, throughDevice, watch, threads }: FastCopyOptions,
  target: JobTarget,
  onResult: (result: JobResult, offsetBytes: number) => void,
): Promise<void> {
  const direct = throughDevice ? undefined : source.direct;
  const jobPlan = { sizeBytes: source.sizeBytes, withZeros: plan.minZeroBytes === 0 };
  const setup: JobSetup = {
    files: direct ? filesOf(direct) : [],
    minZeroBytes: plan.minZeroBytes,
    target,
  };
  const jobs: AsyncGenerator<Job> = direct
    ? planDirectJobs(direct, jobPlan)
    : planReadJobs(read, (offset, length) => source.status(offset, length), jobPlan);
  const pool = await openJobPool(setup, {
    threads: threads ?? threadsFor(source, target, direct !== undefined),
    helps: threads === undefined,
  });
  try {
    await runJobs(
      pool,
      jobs,
      (result, offsetBytes, lengthBytes) => {
        onResult(result, offsetBytes);
        watch.progress(offsetBytes + lengthBytes);
      },
      watch.signal,
    );
  } finally {
    await pool.close();
  }
}

function threadsFor(source: ConvertSource, target: JobTarget, direct: boolean): number {
  const stored = Math.min(source.storedBytes, source.sizeBytes);
  if (target.kind === "clusters" && target.compression)
    return stored > COMPRESS_ALONE_BYTES ? defaultThreads() : 0;
  // Without files that threads read, there is nothing left for them to do.
  return direct && stored > COPY_ALONE_BYTES ? defaultThreads() : 0;
}

function openTarget(path: string, flags: "w+" | "r+"): number {
  return attempt(path, flags === "w+" ? "create" : "open", () => openSync(path, flags));
}

function attempt<Result>(path: string, doing: string, action: () => Result): Result {
  try {
    return action();
  } catch (error) {
    throw hostError(error, path, doing);
  }
}
