import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { availableParallelism } from "node:os";
import { setImmediate as nextTurn } from "node:timers/promises";
import { fileURLToPath, pathToFileURL } from "node:url";
import { Worker } from "node:worker_threads";
import { ByreError, type ByreErrorCode, type ByreErrorData } from "../errors.ts";
import { type Job, type JobResult, JobRunner, type JobSetup } from "./worker-job.ts";

export type WorkerRequest = Job;

export interface WorkerReply {
  readonly result?: JobResult;
  readonly error?: { readonly code: ByreErrorCode; readonly message: string; readonly data: ByreErrorData };
}

/** Threads beside the main one at most: more gain nothing over one disk, and cost 10 MiB each. */
const MAX_THREADS = 7;

/**
 * Jobs given to a thread before it has done the one it is at, so that it never waits for the next; few where
 * each takes long, so that at the end no thread has a queue left and the others nothing.
 */
const JOBS_AHEAD = 8;
const COMPRESS_JOBS_AHEAD = 3;

/** Results of the main thread's own jobs that may wait for those of threads before them ... */
const OWN_JOBS_AHEAD = 8;
/** ... which may be many where a result is no more than that it is done. */
const EMPTY_JOBS_AHEAD = 512;

export interface StartedJob {
  /** Rejects with a ByreError as `JobRunner.run` throws. */
  readonly result: Promise<JobResult>;
  /** Until it resolves the next job must wait: messages of threads, and Ctrl-C, are heard between turns only. */
  readonly free: Promise<void>;
}

/** Does jobs somewhere. */
export interface JobPool {
  /** How many jobs keep it busy. */
  readonly capacity: number;
  /** Begins a job. */
  start(job: Job): StartedJob;
  close(): Promise<void>;
}

export interface JobPoolOptions {
  /** Threads beside this one; 0 for little work, which would be done before one has started. */
  readonly threads: number;
  /** Whether this thread does jobs too, whenever the others have enough; always without others. */
  readonly helps: boolean;
}

/**
 * Opens what does the jobs.
 *
 * @throws ByreError as `JobRunner.open`.
 */
export async function openJobPool(setup: JobSetup, options: JobPoolOptions): Promise<JobPool> {
  const helper = options.helps || options.threads === 0 ? await JobRunner.open(setup) : undefined;
  return new ThreadPool(setup, options.threads, helper);
}

/** With this thread as many as the machine runs at once. */
export function defaultThreads(): number {
  return Math.min(MAX_THREADS, availableParallelism() - 1);
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
      const { result, free } = pool.start(job);
      // Its error is met when its turn comes; until then it must not end the process.
      result.catch(() => {});
      running.push({ result, offsetBytes, lengthBytes });
      await free;
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

interface Waiting {
  resolve(result: JobResult): void;
  reject(error: unknown): void;
}

interface Thread {
  readonly worker: Worker;
  /** Jobs it has, first the one it is at: it answers them in order. */
  readonly waiting: Waiting[];
  /** Why it does nothing any more. */
  failure: unknown;
}

class ThreadPool implements JobPool {
  readonly capacity: number;
  private readonly jobsAhead: number;
  private readonly threads: Thread[] = [];
  private closing = false;

  constructor(
    setup: JobSetup,
    count: number,
    private readonly helper: JobRunner | undefined,
  ) {
    const { target } = setup;
    this.jobsAhead = target.kind === "clusters" && target.compression ? COMPRESS_JOBS_AHEAD : JOBS_AHEAD;
    const ownJobs = target.kind === "raw" ? EMPTY_JOBS_AHEAD : OWN_JOBS_AHEAD;
    this.capacity = count * this.jobsAhead + (helper ? ownJobs : 0);
    for (let i = 0; i < count; i++) this.addThread(setup);
  }

  start(job: Job): StartedJob {
    let idlest = this.threads[0];
    for (const thread of this.threads)
      if (thread.waiting.length < (idlest?.waiting.length ?? 0)) idlest = thread;
    if (idlest && (!this.helper || idlest.waiting.length < this.jobsAhead))
      return { result: post(idlest, job), free: Promise.resolve() };
    return { result: this.runHere(job), free: nextTurn() };
  }

  async close(): Promise<void> {
    this.closing = true;
    this.helper?.close();
    await Promise.all(this.threads.map(({ worker }) => worker.terminate()));
  }

  private async runHere(job: Job): Promise<JobResult> {
    if (!this.helper) throw new ByreError("INTERNAL", "There is no thread to do a job.");
    return this.helper.run(job);
  }

  private addThread(setup: JobSetup): void {
    const worker = startWorker(setup);
    const waiting: Waiting[] = [];
    const thread: Thread = { worker, waiting, failure: undefined };
    this.threads.push(thread);
    const fail = (error: unknown) => {
      thread.failure ??= error;
      for (const { reject } of waiting.splice(0)) reject(error);
    };
    worker.on("message", ({ result, error }: WorkerReply) => {
      if (result) waiting.shift()?.resolve(result);
      else if (error) waiting.shift()?.reject(new ByreError(error.code, error.message, error.data));
    });
    worker.on("error", fail);
    worker.on("exit", (exitCode) => {
      if (!this.closing) fail(new ByreError("INTERNAL", `A worker thread ended by itself (${exitCode}).`));
    });
  }
}

function post({ worker, waiting, failure }: Thread, job: Job): Promise<JobResult> {
  return new Promise((resolve, reject) => {
    if (failure !== undefined) return reject(failure);
    waiting.push({ resolve, reject });
    worker.postMessage(job satisfies WorkerRequest, job.bytes ? [job.bytes.buffer] : []);
  });
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
