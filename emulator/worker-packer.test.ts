import { describe, expect, test } from "vitest";
import type { PackerAnswer, PackerWork } from "./state-packer-worker.ts";
import { createWorkerPacker } from "./worker-packer.ts";

/** A worker that fails and answers when it is told to. */
class WorkerDouble {
  onmessage: ((event: { data: PackerAnswer }) => void) | null = null;
  onerror: ((event: { message?: string; preventDefault(): void }) => void) | null = null;
  onmessageerror: (() => void) | null = null;
  private readonly works: PackerWork[] = [];
  private terminated = false;

  postMessage(work: PackerWork): void {
    this.works.push(work);
  }

  terminate(): void {
    this.terminated = true;
  }

  /** Answers the oldest work with the bytes that it came with. */
  answer(): void {
    const work = this.works.shift();
    if (this.terminated || work?.kind !== "pack") return;
    const packed = work.clusters.map(({ bytes }) => ({ bytes, print: Int32Array.of(0, 0, 0, 0) }));
    this.onmessage?.({ data: { packed } });
  }

  loseAnswer(): void {
    this.works.shift();
    this.onmessageerror?.();
  }
}

function packerOfOne() {
  const workers: WorkerDouble[] = [];
  const create = () => {
    const worker = new WorkerDouble();
    workers.push(worker);
    return worker as unknown as Worker;
  };
  const packer = createWorkerPacker(create, 1);
  const pack = async (value: number) => {
    const [cluster] = await packer.pack([{ bytes: Uint8Array.of(value) }], undefined);
    return cluster?.bytes[0];
  };
  return { workers, pack };
}

const FAILED = { code: "INTERNAL" };

describe("createWorkerPacker", () => {
  test("a worker that could not be loaded gets no more work", async () => {
    const { workers, pack } = packerOfOne();
    const first = pack(1);
    workers[0]?.onerror?.({ preventDefault: () => {} });
    await expect(first).rejects.toMatchObject(FAILED);
    const second = pack(2);
    workers[1]?.answer();
    expect(await second).toBe(2);
    expect(workers).toHaveLength(2);
  });

  test("nobody gets the answer to another's work after one that was lost", async () => {
    const { workers, pack } = packerOfOne();
    const lost = [pack(1), pack(2)];
    workers[0]?.loseAnswer();
    for (const each of lost) await expect(each).rejects.toMatchObject(FAILED);
    const third = pack(3);
    for (const worker of workers) worker.answer();
    expect(await third).toBe(3);
  });
});
