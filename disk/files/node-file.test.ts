import { mkdir, mkdtemp, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { WRITE_STAGES, WriteStage } from "../block-file.ts";
import { expectError, expectSameBytes, testBlockFile } from "../testing/block-file-suite.ts";
import { createFaultyHostIo } from "../testing/faulty-host-io.ts";
import { randomBytes } from "../testing/random-bytes.ts";
import { createHostFile, openNodeFile } from "./node-file.ts";

let directory = "";
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "byre-node-file-"));
});
afterAll(() => rm(directory, { recursive: true }));

let files = 0;
async function written(content: Uint8Array): Promise<string> {
  const path = join(directory, `${files++}.img`);
  await writeFile(path, content);
  return path;
}

testBlockFile("node file", {
  async create(content) {
    const path = await written(content);
    const reopen = () => openNodeFile(path, { writable: true });
    return { file: await reopen(), reopen };
  },
  writable: true,
  durable: true,
});

testBlockFile("node file, read-only", {
  create: async (content) => ({ file: await openNodeFile(await written(content)) }),
  writable: false,
});

describe("node file on its own", () => {
  test("is made only when it is not there", async () => {
    const path = join(directory, "new.img");
    await expectError("NOT_FOUND", () => openNodeFile(path, { writable: true }));
    const file = await openNodeFile(path, { create: true });
    expect(file.writable).toBe(true);
    await file.close();
    await expectError("IN_USE", () => openNodeFile(path, { create: true }));
  });

  test("is no directory", async () => {
    const path = join(directory, "directory");
    await mkdir(path);
    await expectError("INVALID_ARGUMENT", () => openNodeFile(path));
    await expectError("INVALID_ARGUMENT", () => openNodeFile(path, { writable: true }));
  });

  test("says so when another program cut it, and reads no zeros for that", async () => {
    const path = await written(randomBytes(2000));
    const file = await openNodeFile(path);
    await truncate(path, 1000);
    await expectError("FILE_CHANGED", () => file.read(500, new Uint8Array(1000)));
    await file.close();
  });

  test.each([
    ["ENOSPC", "QUOTA_EXCEEDED"],
    ["EACCES", "ACCESS_DENIED"],
    ["EIO", "STORAGE"],
  ] as const)("a flush that fails with %s is %s, and the next one stores all", async (failCode, code) => {
    const host = createFaultyHostIo(randomBytes(5000));
    const file = createHostFile(host, { name: "a.img", writable: true });
    const content = randomBytes(9000);
    file.write(0, content);
    host.failCode = failCode;
    host.failFrom = 1;
    expect((await expectError(code, () => file.flush())).data.hostCode).toBe(failCode);
    expect(file.dirtyBytes).toBeGreaterThanOrEqual(content.length);
    host.failFrom = Number.POSITIVE_INFINITY;
    await file.flush();
    expectSameBytes(
      host.afterCrash(() => false),
      content,
    );
  });
});

describe("when the power goes", () => {
  /** One sector a stage, written in an order that is not theirs. */
  const stages = [WriteStage.HEADER, WriteStage.L2, WriteStage.DATA, WriteStage.L1, 1, 2] as WriteStage[];

  test("nothing is on the disk before what it points to", async () => {
    const written = new Set<string>();
    for (let failFrom = 0; failFrom < 20; failFrom++) {
      const host = createFaultyHostIo(new Uint8Array(WRITE_STAGES * 512));
      const file = createHostFile(host, { name: "a.img", writable: true });
      for (const stage of stages) file.write(stage * 512, new Uint8Array(512).fill(1), stage);
      host.failFrom = failFrom;
      await file.flush().catch(() => {});
      for (let chosen = 0; chosen < 1 << host.unsynced; chosen++) {
        const disk = host.afterCrash((position) => ((chosen >> position) & 1) === 1);
        const there = [0, 1, 2, 3, 4, 5].map((stage) => disk[stage * 512] === 1);
        const last = there.lastIndexOf(true);
        // Data and refcount blocks go together, in any order.
        if (last > 1) expect(there.slice(0, last)).not.toContain(false);
        written.add(there.map(Number).join(""));
      }
    }
    expect([...written].sort()).toEqual(
      ["000000", "010000", "100000", "110000", "111000", "111100", "111110", "111111"].sort(),
    );
  });

  test("every byte that was flushed and not changed since is there", async () => {
    const change = fc.oneof(
      {
        weight: 5,
        arbitrary: fc.record({
          offset: fc.integer({ min: 0, max: 6000 }),
          length: fc.integer({ min: 1, max: 2000 }),
          stage: fc.constantFrom(...Object.values(WriteStage)),
        }),
      },
      { weight: 1, arbitrary: fc.record({ size: fc.integer({ min: 0, max: 8000 }) }) },
      { weight: 2, arbitrary: fc.constant("flush" as const) },
    );
    await fc.assert(
      fc.asyncProperty(
        fc.array(change, { maxLength: 20 }),
        fc.integer({ min: 0, max: 60 }),
        fc.infiniteStream(fc.boolean()),
        async (changes, failFrom, survivals) => {
          const content = randomBytes(4000);
          const host = createFaultyHostIo(content);
          host.failFrom = failFrom;
          const file = createHostFile(host, { name: "a.img", writable: true });
          let flushed = content.slice();
          let touchedFrom = Number.POSITIVE_INFINITY;
          let touched = new Set<number>();
          for (const step of [...changes, "flush" as const]) {
            if (step === "flush") {
              try {
                await file.flush();
              } catch {
                break;
              }
              flushed = new Uint8Array(file.sizeBytes);
              await file.read(0, flushed);
              touched = new Set();
              touchedFrom = Number.POSITIVE_INFINITY;
            } else if ("size" in step) {
              file.truncate(step.size);
              touchedFrom = Math.min(touchedFrom, step.size);
            } else {
              file.write(step.offset, randomBytes(step.length), step.stage);
              for (let i = 0; i < step.length; i++) touched.add(step.offset + i);
            }
          }
          const disk = host.afterCrash(() => survivals.next().value);
          const lost = flushed.findIndex(
            (byte, at) => at < touchedFrom && !touched.has(at) && disk[at] !== byte,
          );
          expect(lost).toBe(-1);
        },
      ),
      { numRuns: 300 },
    );
  });
});
