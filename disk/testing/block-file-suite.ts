import * as fc from "fast-check";
import { afterEach, describe, expect, test } from "vitest";
import type { BlockFile } from "../block-file.ts";
import { ByreError, type ByreErrorCode } from "../errors.ts";
import { randomBytes } from "./random-bytes.ts";

/** One file under test, and what can be done to the storage below it. */
export interface BlockFileUnderTest {
  file: BlockFile;
  /**
   * Closes nothing; opens the same storage again, as a new process would. Absent for files that nothing
   * outlives, and for those that cannot be written.
   */
  reopen?: () => Promise<BlockFile>;
}

/** A back end, as the suite sees it. */
export interface BlockFileBackEnd {
  /** Makes storage that durably holds `content` and opens it. */
  create(content: Uint8Array<ArrayBuffer>): Promise<BlockFileUnderTest>;
  writable: boolean;
  /** Whether what was flushed outlives the file, so that `reopen` is there. */
  durable?: boolean;
  /** How many random histories to try; fewer for a slow back end. */
  propertyRuns?: number;
}

/** Odd on purpose: neither the start nor the end of anything lies on a block of any back end. */
const CONTENT_BYTES = 3 * 65536 + 12345;

/**
 * What every `BlockFile` must do, whatever is below it. A back end's test is one call of this, and tests
 * of what is its own.
 */
export function testBlockFile(name: string, backEnd: BlockFileBackEnd): void {
  const opened: BlockFile[] = [];

  async function create(content: Uint8Array<ArrayBuffer>): Promise<BlockFileUnderTest> {
    const subject = await backEnd.create(content);
    opened.push(subject.file);
    return subject;
  }

  async function createRandom(): Promise<BlockFileUnderTest & { content: Uint8Array<ArrayBuffer> }> {
    const content = randomBytes(CONTENT_BYTES);
    return { ...(await create(content)), content };
  }

  describe(name, () => {
    afterEach(async () => {
      for (const file of opened.splice(0)) await file.close();
    });

    describe("reading", () => {
      test("says its size and whether it can be written", async () => {
        const { file } = await createRandom();
        expect(file.sizeBytes).toBe(CONTENT_BYTES);
        expect(file.writable).toBe(backEnd.writable);
        expect(file.dirtyBytes).toBe(0);
        expect(file.name).not.toBe("");
      });

      test("reads any range", async () => {
        const { file, content } = await createRandom();
        await fc.assert(
          fc.asyncProperty(rangeWithin(CONTENT_BYTES), async ([start, end]) => {
            expectSameBytes(await readRange(file, start, end - start), content.subarray(start, end));
          }),
          { numRuns: 30 },
        );
      });

      test("reads the whole, and nothing at the end", async () => {
        const { file, content } = await createRandom();
        expectSameBytes(await readRange(file, 0, CONTENT_BYTES), content);
        expect(await readRange(file, CONTENT_BYTES, 0)).toHaveLength(0);
      });

      test("reads an empty file", async () => {
        const { file } = await create(new Uint8Array(0));
        expect(file.sizeBytes).toBe(0);
        expect(await readRange(file, 0, 0)).toHaveLength(0);
        await expectError("OUT_OF_RANGE", () => readRange(file, 0, 1));
      });

      test("answers overlapping reads made at once", async () => {
        const { file, content } = await createRandom();
        const starts = [0, 40000, 5, 100000, 40001, 0, 131071];
        const answers = await Promise.all(starts.map((start) => readRange(file, start, 70000)));
        for (const [index, start] of starts.entries())
          expectSameBytes(answers[index] ?? new Uint8Array(), content.subarray(start, start + 70000));
      });

      test("reads without waiting after load", async () => {
        const { file, content } = await createRandom();
        const target = new Uint8Array(100_000);
        await file.load(50_001, target.length);
        expect(file.readNow(50_001, target)).toBe(true);
        expectSameBytes(target, content.subarray(50_001, 150_001));
      });

      test("refuses a range that is not inside it", async () => {
        const { file } = await createRandom();
        await expectError("OUT_OF_RANGE", () => readRange(file, CONTENT_BYTES - 1, 2));
        await expectError("OUT_OF_RANGE", () => readRange(file, CONTENT_BYTES + 1, 0));
        await expectError("OUT_OF_RANGE", () => readRange(file, -1, 1));
        await expectError("OUT_OF_RANGE", () => readRange(file, 0.5, 1));
        await expectError("OUT_OF_RANGE", () => readRange(file, Number.NaN, 1));
        await expectError("OUT_OF_RANGE", async () => file.readNow(CONTENT_BYTES, new Uint8Array(1)));
      });

      test("is closed after close, which may be called twice", async () => {
        const { file } = await createRandom();
        await file.close();
        await file.close();
        await expectError("CLOSED", () => readRange(file, 0, 1));
        await expectError("CLOSED", async () => file.readNow(0, new Uint8Array(1)));
        await expectError("CLOSED", () => file.load(0, 1));
        if (!backEnd.writable) return;
        await expectError("CLOSED", async () => file.write(0, new Uint8Array(1)));
        await expectError("CLOSED", async () => file.truncate(0));
        await expectError("CLOSED", async () => file.forget(0, 1));
        await expectError("CLOSED", () => file.flush());
      });
    });

    if (backEnd.writable) testWriting(backEnd, create, createRandom);
    else {
      test("refuses to be written", async () => {
        const { file } = await createRandom();
        await expectError("READ_ONLY", async () => file.write(0, new Uint8Array(1)));
        await expectError("READ_ONLY", async () => file.truncate(0));
        await expectError("READ_ONLY", async () => file.forget(0, 1));
        await file.flush();
      });
    }
  });
}

type Create = (content: Uint8Array<ArrayBuffer>) => Promise<BlockFileUnderTest>;
type CreateRandom = () => Promise<BlockFileUnderTest & { content: Uint8Array<ArrayBuffer> }>;

function testWriting(backEnd: BlockFileBackEnd, create: Create, createRandom: CreateRandom): void {
  describe("writing", () => {
    test("reads back what was written, unaligned, before and after a flush", async () => {
      const { file, content } = await createRandom();
      for (const [offset, length] of [
        [0, 1],
        [511, 2],
        [32767, 2],
        [65530, 70001],
        [CONTENT_BYTES - 3, 3],
      ] as const) {
        const data = randomBytes(length);
        await writeRange(file, offset, data);
        content.set(data, offset);
        expectSameBytes(await readRange(file, 0, CONTENT_BYTES), content);
      }
      await file.flush();
      expectSameBytes(await readRange(file, 0, CONTENT_BYTES), content);
    });

    test("copies the data it is given", async () => {
      const { file } = await createRandom();
      const data = randomBytes(1000);
      const before = data.slice();
      await writeRange(file, 100, data);
      data.fill(0xee);
      expectSameBytes(await readRange(file, 100, 1000), before);
      await file.flush();
      expectSameBytes(await readRange(file, 100, 1000), before);
    });

    test("can be written without waiting after load", async () => {
      const { file } = await createRandom();
      await file.load(40_001, 60_000);
      expect(file.canWriteNow(40_001, 60_000)).toBe(true);
      file.write(40_001, randomBytes(60_000));
    });

    test.each([
      ["before", false],
      ["after", true],
    ])(
      "keeps what lies around bytes that are forgotten %s a flush, and takes new ones there",
      async (_title, flushed) => {
        const { file, content } = await createRandom();
        const data = randomBytes(150_000);
        await writeRange(file, 10_000, data);
        content.set(data, 10_000);
        if (flushed) await file.flush();
        file.forget(30_001, 100_000);
        expect(file.sizeBytes).toBe(CONTENT_BYTES);
        const check = async () => {
          await readRange(file, 30_001, 100_000);
          expectSameBytes(await readRange(file, 0, 30_001), content.subarray(0, 30_001));
          expectSameBytes(await readRange(file, 130_001, 70_000), content.subarray(130_001, 200_001));
        };
        await check();
        await file.flush();
        await check();
        const anew = randomBytes(100_000);
        await writeRange(file, 30_001, anew);
        content.set(anew, 30_001);
        await file.flush();
        expectSameBytes(await readRange(file, 0, CONTENT_BYTES), content);
      },
    );

    test("grows with a gap of zeros", async () => {
      const { file, content } = await createRandom();
      await writeRange(file, CONTENT_BYTES + 100_001, Uint8Array.of(7, 8, 9));
      expect(file.sizeBytes).toBe(CONTENT_BYTES + 100_004);
      const model = new Uint8Array(file.sizeBytes);
      model.set(content);
      model.set([7, 8, 9], CONTENT_BYTES + 100_001);
      expectSameBytes(await readRange(file, 0, file.sizeBytes), model);
      await file.flush();
      expectSameBytes(await readRange(file, 0, file.sizeBytes), model);
    });

    test.each([
      ["without a flush between", false],
      ["with a flush between", true],
    ])("reads zeros past a truncation after it has grown again, %s", async (_title, flushed) => {
      const { file, content } = await createRandom();
      const kept = 70_001;
      file.truncate(kept);
      expect(file.sizeBytes).toBe(kept);
      await expectError("OUT_OF_RANGE", () => readRange(file, kept, 1));
      if (flushed) await file.flush();
      file.truncate(CONTENT_BYTES);
      const model = new Uint8Array(CONTENT_BYTES);
      model.set(content.subarray(0, kept));
      expectSameBytes(await readRange(file, 0, CONTENT_BYTES), model);
      await file.flush();
      expectSameBytes(await readRange(file, 0, CONTENT_BYTES), model);
    });

    test("reads zeros past a truncation of what was resident", async () => {
      const { file } = await createRandom();
      await file.load(0, CONTENT_BYTES);
      await writeRange(file, 65_000, randomBytes(10_000));
      file.truncate(66_000);
      await writeRange(file, 140_000, Uint8Array.of(1));
      expect((await readRange(file, 66_000, 74_000)).every((byte) => byte === 0)).toBe(true);
    });

    test("counts what is not durable", async () => {
      const { file } = await createRandom();
      await writeRange(file, 1000, randomBytes(10));
      expect(file.dirtyBytes).toBeGreaterThanOrEqual(backEnd.durable ? 10 : 0);
      await file.flush();
      expect(file.dirtyBytes).toBe(0);
    });

    test("flushes with nothing to flush, and several times at once", async () => {
      const { file } = await createRandom();
      await file.flush();
      await writeRange(file, 5, randomBytes(5));
      await Promise.all([file.flush(), file.flush(), file.flush()]);
      expect(file.dirtyBytes).toBe(0);
    });

    test("keeps a write that was made while a flush was under way", async () => {
      const { file, content } = await createRandom();
      const first = randomBytes(5000);
      const second = randomBytes(5000);
      await writeRange(file, 1000, first);
      await file.load(0, 40_000);
      const flushing = file.flush();
      file.write(3000, second);
      content.set(first, 1000);
      content.set(second, 3000);
      expectSameBytes(await readRange(file, 0, CONTENT_BYTES), content);
      await flushing;
      expectSameBytes(await readRange(file, 0, CONTENT_BYTES), content);
      if (backEnd.durable) expect(file.dirtyBytes).toBeGreaterThanOrEqual(5000);
      await file.flush();
      expect(file.dirtyBytes).toBe(0);
      expectSameBytes(await readRange(file, 0, CONTENT_BYTES), content);
    });

    test("keeps a truncation that was made while a flush was under way", async () => {
      const { file, content } = await createRandom();
      await writeRange(file, 150_000, content.subarray(0, 1000));
      const flushing = file.flush();
      file.truncate(100_000);
      file.truncate(CONTENT_BYTES);
      await flushing;
      const model = new Uint8Array(CONTENT_BYTES);
      model.set(content.subarray(0, 100_000));
      expectSameBytes(await readRange(file, 0, CONTENT_BYTES), model);
      await file.flush();
      expectSameBytes(await readRange(file, 0, CONTENT_BYTES), model);
    });
  });

  test("random histories read as a plain array does", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(operation(), { maxLength: 25 }), async (operations) => {
        const subject = await create(new Uint8Array(0));
        await runHistory(subject, operations);
      }),
      { numRuns: backEnd.propertyRuns ?? 40 },
    );
  });

  if (!backEnd.durable) return;
  test("what was flushed is there when it is opened again", async () => {
    const { file, content, reopen } = await createRandom();
    if (!reopen) return expect.fail("a durable back end must be able to open its storage again");
    const data = randomBytes(100_000);
    await writeRange(file, 30_001, data);
    content.set(data, 30_001);
    await file.flush();
    await writeRange(file, 0, randomBytes(10));
    await file.close();
    const again = await reopen();
    try {
      expectSameBytes(await readRange(again, 0, CONTENT_BYTES), content);
    } finally {
      await again.close();
    }
  });
}

type Operation =
  | { kind: "write"; offset: number; length: number; seed: number }
  | { kind: "truncate"; size: number }
  | { kind: "read"; offset: number; length: number }
  | { kind: "flush" }
  | { kind: "flushUnawaited" }
  | { kind: "reopen" };

/** Up to five 64 KiB clusters, with the edges of sectors and blocks more often than chance would have them. */
function offset(): fc.Arbitrary<number> {
  const edges = [0, 511, 512, 4096, 32767, 32768, 65535, 65536, 98304, 131072, 262144];
  return fc.oneof(fc.integer({ min: 0, max: 300_000 }), fc.constantFrom(...edges));
}

function operation(): fc.Arbitrary<Operation> {
  const length = fc.oneof(fc.integer({ min: 0, max: 3000 }), fc.integer({ min: 0, max: 140_000 }));
  return fc.oneof(
    {
      weight: 6,
      arbitrary: fc.record({
        kind: fc.constant("write" as const),
        offset: offset(),
        length,
        seed: fc.integer({ min: 1, max: 255 }),
      }),
    },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant("truncate" as const), size: offset() }) },
    { weight: 3, arbitrary: fc.record({ kind: fc.constant("read" as const), offset: offset(), length }) },
    {
      weight: 3,
      arbitrary: fc.constantFrom<Operation>(
        { kind: "flush" },
        { kind: "flushUnawaited" },
        { kind: "reopen" },
      ),
    },
  );
}

async function runHistory(subject: BlockFileUnderTest, operations: Operation[]): Promise<void> {
  let file = subject.file;
  let model = new Uint8Array(0);
  const flushes: Promise<void>[] = [];
  try {
    for (const step of operations) {
      switch (step.kind) {
        case "write": {
          const data = new Uint8Array(step.length).map((_, index) => (step.seed + index * 7) | 1);
          await writeRange(file, step.offset, data);
          // A write of nothing does not grow a file.
          if (data.length > 0) model = resized(model, Math.max(model.length, step.offset + data.length));
          if (data.length > 0) model.set(data, step.offset);
          break;
        }
        case "truncate":
          file.truncate(step.size);
          model = resized(model, step.size);
          break;
        case "read": {
          const start = Math.min(step.offset, model.length);
          const end = Math.min(start + step.length, model.length);
          expectSameBytes(await readRange(file, start, end - start), model.subarray(start, end));
          break;
        }
        case "flush":
          await file.flush();
          break;
        case "flushUnawaited":
          flushes.push(file.flush());
          break;
        case "reopen":
          if (!subject.reopen) break;
          await file.flush();
          await Promise.all(flushes.splice(0));
          await file.close();
          file = await subject.reopen();
          break;
      }
      expect(file.sizeBytes).toBe(model.length);
    }
    expectSameBytes(await readRange(file, 0, model.length), model);
  } finally {
    await Promise.all(flushes);
    await file.close();
  }
}

function resized(bytes: Uint8Array<ArrayBuffer>, length: number): Uint8Array<ArrayBuffer> {
  const result = new Uint8Array(length);
  result.set(bytes.subarray(0, length));
  return result;
}

async function readRange(file: BlockFile, start: number, length: number): Promise<Uint8Array<ArrayBuffer>> {
  // Filled with junk first: a read that leaves bytes alone must not pass for one that read zeros.
  const target = new Uint8Array(length).fill(0xa5);
  await file.read(start, target);
  return target;
}

/** Writes as a device does: asks, loads, asks again. */
async function writeRange(file: BlockFile, start: number, data: Uint8Array): Promise<void> {
  while (!file.canWriteNow(start, data.length)) await file.load(start, data.length);
  file.write(start, data);
}

function rangeWithin(sizeBytes: number): fc.Arbitrary<[number, number]> {
  const point = fc.integer({ min: 0, max: sizeBytes });
  return fc.tuple(point, point).map(([a, b]) => [Math.min(a, b), Math.max(a, b)]);
}

/** Compares large arrays at once; names the first difference rather than printing both. */
export function expectSameBytes(actual: Uint8Array, wanted: Uint8Array): void {
  expect(actual.length).toBe(wanted.length);
  const at = actual.findIndex((byte, index) => byte !== wanted[index]);
  if (at >= 0)
    expect.fail(`byte ${at} of ${wanted.length} is ${actual[at]} where ${wanted[at]} was expected`);
}

/** Expects a `ByreError` with this code, thrown or rejected, and gives it back. */
export async function expectError(code: ByreErrorCode, action: () => Promise<unknown>): Promise<ByreError> {
  try {
    await action();
  } catch (error) {
    expect(error).toBeInstanceOf(ByreError);
    expect((error as ByreError).code).toBe(code);
    return error as ByreError;
  }
  return expect.fail(`expected ${code}, but nothing failed`);
}
