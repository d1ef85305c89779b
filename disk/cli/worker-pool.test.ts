import { readFileSync, writeFileSync } from "node:fs";
import { afterAll, describe, expect, it } from "vitest";
import { Bench } from "../testing/qemu.ts";
import { type Job, type JobSetup, MAX_JOB_BYTES, PieceKind } from "./worker-job.ts";
import { openJobPool, runJobs } from "./worker-pool.ts";

const JOBS = 12;

async function* copyJobs(count = JOBS): AsyncGenerator<Job> {
  for (let i = 0; i < count; i++) {
    const offsetBytes = i * MAX_JOB_BYTES;
    const pieces = new Float64Array([PieceKind.PLAIN, 0, 0, MAX_JOB_BYTES, offsetBytes, 0, 0]);
    yield { offsetBytes, lengthBytes: MAX_JOB_BYTES, pieces };
  }
}

describe("a pool of threads", () => {
  const bench = new Bench();
  afterAll(() => bench.remove());
  const content = new Uint8Array(JOBS * MAX_JOB_BYTES).map((_, at) => at % 253);
  const source = bench.put("source.raw", content);
  const target = bench.put("target.raw", new Uint8Array(content.length));
  const file = { path: source, compression: undefined, clusterSizeBytes: MAX_JOB_BYTES };
  const setup: JobSetup = { files: [file], minZeroBytes: 4096, target: { kind: "raw", path: target } };

  it.each([
    { threads: 0, helps: true },
    { threads: 2, helps: false },
    { threads: 1, helps: true },
  ])("does every job, and hands results on in their order: %j", async (options) => {
    writeFileSync(target, new Uint8Array(content.length));
    const pool = await openJobPool(setup, options);
    const done: number[] = [];
    await runJobs(pool, copyJobs(), (_, offsetBytes) => void done.push(offsetBytes / MAX_JOB_BYTES));
    await pool.close();
    expect(done).toEqual(Array.from({ length: JOBS }, (_, i) => i));
    expect(readFileSync(target).equals(content)).toBe(true);
  });

  it.each([
    { threads: 0, helps: true },
    { threads: 1, helps: false },
  ])("ends with the error of a job that fails: %j", async (options) => {
    const missing = { ...setup, target: { kind: "raw", path: bench.path("missing") } } as const;
    const failing = (async () => {
      const pool = await openJobPool(missing, options);
      await runJobs(pool, copyJobs(), () => {}).finally(() => pool.close());
    })();
    await expect(failing).rejects.toMatchObject({ code: "NOT_FOUND" });
  });

  it("stops between jobs when it is told to", async () => {
    const controller = new AbortController();
    const pool = await openJobPool(setup, { threads: 0, helps: true });
    let done = 0;
    const stopped = runJobs(
      pool,
      copyJobs(),
      () => {
        done++;
        controller.abort(new Error("enough"));
      },
      controller.signal,
    );
    await expect(stopped).rejects.toThrow("enough");
    await pool.close();
    expect(done).toBeLessThan(JOBS);
  });
});
