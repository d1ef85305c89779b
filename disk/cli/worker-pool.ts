import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { availableParallelism } from "node:os";
import { fileURLToPath, pathToFileURL } from "node:url";
import { Worker } from "node:worker_threads";
import { ByreError, type ByreErrorCode, type ByreErrorData } from "../errors.ts";
import { type Job, type JobResult, JobRunner, type JobSetup } from "./worker-job.ts";

export type WorkerRequest = Job | "close";

export interface WorkerReply {
  readonly ready?: true;
  readonly result?: JobResult;
  readonly error?: { readonly code: ByreErrorCode; readonly message: string; readonly data: ByreErrorData };
}

/** Threads that a conversion uses at most: more gain nothing over one disk, and cost 10 MiB each. */
const MAX_THREADS = 8;

/** Jobs given to a thread before it has done the one it is at, so that it never waits for the next. */
const JOBS_AHEAD = 2;

/** Does jobs somewhere. */
export interface JobPool {
  /** How many jobs keep it busy. */
  readonly capacity: number;
  /** @throws ByreError as `JobRunner.run`. */
  run(job: Job): Promise<JobResult>;
  close(): Promise<void>;
}

/**
 * Opens what does the jobs.
 *
 * @param threads 0 for this thread alone: for little work, which would be done before a thread has started.
 * @throws ByreError as `JobRunner.open`.
 */
export async function openJobPool(setup: JobSetup, threads: number): Promise<JobPool> {
  if (threads === 0) return inlinePool(await JobRunner.open(setup));
  const pool = new ThreadPool(setup, threads);
  try {
    await pool.start();
    return pool;
  } catch (error) {
    await pool.close();
    throw error;
  }
}

/** As many threads as the machine runs at once. */
export function defaultThreads(): number {
  return Math.min(MAX_THREADS, Math.max(1, availableParallelism()));
}

/**
 * Does jobs and hands their results on in the jobs' order, however the threads overtake each other.
 *
 * @param onResult awaited before the next result is handed on.
 * @throws what a job, `jobs` or `onResult` throws; or what the signal was aborted with.
 */
export async function runJobs(
  pool: JobPool,
  jobs: AsyncIterable<Job>,
  onResult: (result: JobResult, offsetBytes: number, lengthBytes: number) => void | Promise<void>,
  signal?: AbortSignal,
): Promise<void> {
  const running: { result: Promise<JobResult>; offsetBytes: number; lengthBytes: number }[] = [];
  const takeFirst = async () => {
    const first = running.shift();
    if (first) await onResult(await first.result, first.offsetBytes, first.lengthBytes);
  };
  try {
    for await (const job of jobs) {
      signal?.throwIfAborted();
      const { offsetBytes, lengthBytes } = job;
      const result = pool.run(job);
      // Its error is met when its turn comes; until then it must not end the process.
      result.catch(() => {});
      running.push({ result, offsetBytes, lengthBytes });
      if (running.length >= pool.capacity) await takeFirst();
    }
    while (running.length > 0) {
      signal?.throwIfAborted();
      await takeFirst();
    }
  } finally {
    await Promise.allSettled(running.map(({ result }) => result));
  }
}

function inlinePool(runner: JobRunner): JobPool {
  return {
    capacity: 1,
    run: async (job) => runner.run(job),
    close: async () => runner.close(),
  };
}

interface Waiting {
  resolve(result: JobResult): void;
  reject(error: unknown): void;
}

interface Thread {
  readonly worker: Worker;
  /** Jobs it has, first the one it is at: it answers them in order. */
  readonly waiting: Waiting[];
}

class ThreadPool implements JobPool {
  readonly capacity: number;
  private readonly threads: Thread[] = [];
  private readonly started: Promise<void>[] = [];
  private closing = false;

  constructor(setup: JobSetup, count: number) {
    this.capacity = count * JOBS_AHEAD;
    for (let i = 0; i < count; i++) this.addThread(setup);
  }

  async start(): Promise<void> {
    await Promise.all(this.started);
  }

  run(job: Job): Promise<JobResult> {
    let idlest = this.threads[0];
    for (const thread of this.threads)
      if (thread.waiting.length < (idlest?.waiting.length ?? 0)) idlest = thread;
    return new Promise((resolve, reject) => {
      idlest?.waiting.push({ resolve, reject });
      idlest?.worker.postMessage(job satisfies WorkerRequest, job.bytes ? [job.bytes.buffer] : []);
    });
  }

  async close(): Promise<void> {
    this.closing = true;
    await Promise.all(this.threads.map(({ worker }) => worker.terminate()));
  }

  private addThread(setup: JobSetup): void {
    const worker = startWorker(setup);
    const waiting: Waiting[] = [];
    this.threads.push({ worker, waiting });
    const fail = (error: unknown) => {
      for (const { reject } of waiting.splice(0)) reject(error);
    };
    this.started.push(
      new Promise((resolve, reject) => {
        worker.on("message", ({ ready, result, error }: WorkerReply) => {
          const cause = error && new ByreError(error.code, error.message, error.data);
          if (ready) resolve();
          else if (result) waiting.shift()?.resolve(result);
          else waiting.shift()?.reject(cause);
          if (cause) reject(cause);
        });
        worker.on("error", (error) => {
          reject(error);
          fail(error);
        });
        worker.on("exit", (exitCode) => {
          const error = new ByreError("INTERNAL", `A worker thread ended by itself (${exitCode}).`);
          if (this.closing) return;
          reject(error);
          fail(error);
        });
      }),
    );
  }
}

/** The threads' own script: beside this one when it is built; from source it needs what runs TypeScript. */
function startWorker(setup: JobSetup): Worker {
  const built = fileURLToPath(new URL("./worker-entry.mjs", import.meta.url));
  if (existsSync(built)) return new Worker(built, { workerData: setup });
  const commonJs = createRequire(import.meta.url).resolve("tsx/esm/api");
  const tsx = pathToFileURL(commonJs.replace(/\.cjs$/, ".mjs")).href;
  const source = new URL("./worker-entry.ts", import.meta.url).href;
  const script = `import(${JSON.stringify(tsx)}).then(({ register }) => { register(); return import(${JSON.stringify(source)}); });`;
  return new Worker(script, { eval: true, workerData: setup });
}
