import { describe, expect, test } from "vitest";
import type { BlockFile } from "../block-file.ts";
import type { ByreError } from "../errors.ts";
import { createBlobFile } from "../files/blob-file.ts";
import { type ImportingFile, type ImportingFileOptions, openImportingFile } from "../files/importing-file.ts";
import { BLOCK_BYTES } from "../files/indexeddb-blocks.ts";
import { deleteUnfinishedImport, indexedDbFileSizes } from "../files/indexeddb-catalog.ts";
import type { BlockDatabase } from "../files/indexeddb-database.ts";
import { openIndexedDbFile } from "../files/indexeddb-file.ts";
import { expectError, expectSameBytes, testBlockFile } from "./block-file-suite.ts";
import { openTestDatabase } from "./indexeddb-file-cases.ts";
import { randomBytes } from "./random-bytes.ts";

const PIECE = 2 * BLOCK_BYTES;

/** What a file does that is read while it is being copied, in a browser and over a stand-in alike. */
export function testImportingFile(): void {
  const database = openTestDatabase();

  async function open(options: Partial<ImportingFileOptions> & Pick<ImportingFileOptions, "source">) {
    return await openImportingFile({
      database: await database,
      fileId: crypto.randomUUID(),
      pieceBytes: PIECE,
      ...options,
    });
  }

  const stages: [name: string, prepare: (file: ImportingFile) => Promise<void> | void][] = [
    ["before it is copied", () => {}],
    ["half copied", (file) => copyUpTo(file, file.sizeBytes / 2)],
    ["while it is copied", (file) => file.resume()],
    ["copied", (file) => copyUpTo(file, file.sizeBytes)],
    ["whose copy was cancelled", (file) => copyUpTo(file, file.sizeBytes / 2).then(() => file.cancel())],
  ];
  for (const [stage, prepare] of stages)
    testBlockFile(`importing file ${stage}`, {
      async create(content) {
        const file = await open({ source: new Blob([content]), paused: true });
        if (content.length > 0) await prepare(file);
        return { file };
      },
      writable: false,
    });

  describe("importing file on its own", () => {
    test("reads right at every moment of its copying, and lets go of the source at the end", async () => {
      const content = randomBytes(40 * PIECE + 777);
      const source = createBlobFile(new Blob([content]), { cacheBytes: 1 });
      const file = await open({ source });
      let copiedBytes = 0;
      file.onProgress((progress) => {
        expect(progress.copiedBytes).toBeGreaterThanOrEqual(copiedBytes);
        copiedBytes = progress.copiedBytes;
      });
      while (file.progress.state === "copying") {
        const start = Math.floor(Math.random() * content.length);
        const end = Math.min(content.length, start + Math.floor(Math.random() * 3 * PIECE));
        expectSameBytes(await readRange(file, start, end), content.subarray(start, end));
        // What is read from memory takes no turn, and the copying needs some.
        await new Promise((resolve) => setTimeout(resolve));
      }
      expect(file.progress).toEqual({
        state: "copied",
        copiedBytes: content.length,
        totalBytes: content.length,
        error: undefined,
      });
      await expectError("CLOSED", () => source.read(0, new Uint8Array(1)));
      expectSameBytes(await readRange(file, 0, content.length), content);
      await file.close();
      const copy = await openIndexedDbFile({ database: await database, fileId: file.fileId });
      expectSameBytes(await readRange(copy, 0, content.length), content);
      await copy.close();
    });

    test("counts a piece only once it is durable", async () => {
      const inner = await database;
      const fileId = crypto.randomUUID();
      let durableBytes = 0;
      const storage = failingDatabase(inner, async () => {
        durableBytes = (await inner.connection?.get("files", fileId))?.sizeBytes ?? 0;
      });
      const source = new Blob([randomBytes(9 * PIECE)]);
      const file = await open({ database: storage, fileId, source });
      let pieces = 0;
      file.onProgress(({ copiedBytes }) => {
        pieces++;
        expect(copiedBytes).toBeLessThanOrEqual(durableBytes);
      });
      expect(await until(file, "copied")).toBeUndefined();
      expect(pieces).toBeGreaterThanOrEqual(9);
      await file.close();
    });

    test("stores no zeros, nor loses those at the end", async () => {
      const content = new Uint8Array(10 * BLOCK_BYTES + 5);
      content.set(randomBytes(BLOCK_BYTES), 3 * BLOCK_BYTES);
      const file = await open({ source: new Blob([content]) });
      await until(file, "copied");
      expect(await sizesOf(file)).toMatchObject({ sizeBytes: content.length, storedBytes: BLOCK_BYTES });
      expectSameBytes(await readRange(file, 0, content.length), content);
      await file.close();
    });

    test("has nothing to copy of an empty file", async () => {
      const file = await open({ source: new Blob([]) });
      expect(file.progress.state).toBe("copied");
      await file.close();
    });

    test("goes on where it was interrupted, given the same file", async () => {
      const content = randomBytes(8 * PIECE + 100);
      const source = new File([content], "a.qcow2", { lastModified: 1_700_000_000_000 });
      const first = await open({ source, paused: true });
      await copyUpTo(first, 3 * PIECE);
      const { fileId } = first;
      const { copiedBytes } = first.progress;
      await first.close();

      const importOf = { name: "a.qcow2", sizeBytes: content.length, lastModifiedMs: 1_700_000_000_000 };
      expect(await sizesOf(first)).toMatchObject({ sizeBytes: copiedBytes, importOf });
      const refused = await expectError("IMPORT_UNFINISHED", async () =>
        openIndexedDbFile({ database: await database, fileId }),
      );
      expect(refused.data).toMatchObject({ copiedBytes, sizeBytes: content.length });

      const readFrom: number[] = [];
      class WatchedFile extends File {
        override slice(start = 0, end?: number): Blob {
          readFrom.push(start);
          return super.slice(start, end);
        }
      }
      const again = await open({
        fileId,
        source: new WatchedFile([content], "a.qcow2", { lastModified: 1_700_000_000_000 }),
      });
      expect(again.progress.copiedBytes).toBe(copiedBytes);
      await until(again, "copied");
      // The reader of blobs reads chunks of 256 KiB from their starts.
      expect(Math.min(...readFrom)).toBeGreaterThan(copiedBytes - 256 * 1024);
      expectSameBytes(await readRange(again, 0, content.length), content);
      await again.close();
      expect(await sizesOf(again)).toMatchObject({ sizeBytes: content.length, importOf: undefined });
      await (await openIndexedDbFile({ database: await database, fileId })).close();
    });

    test.each([
      ["name", "b.qcow2", 500_000, 5],
      ["length", "a.qcow2", 500_001, 5],
      ["time of change", "a.qcow2", 500_000, 6],
    ])("does not go on with a file of another %s", async (_what, name, lengthBytes, lastModified) => {
      const first = await open({
        source: new File([randomBytes(500_000)], "a.qcow2", { lastModified: 5 }),
        paused: true,
      });
      await copyUpTo(first, PIECE);
      await first.close();
      const before = await sizesOf(first);
      const source = new File([randomBytes(lengthBytes)], name, { lastModified });
      const error = await expectError("FILE_CHANGED", () => open({ fileId: first.fileId, source }));
      expect(error.message).toContain('"a.qcow2" (500000 bytes');
      expect(await sizesOf(first)).toEqual(before);
    });

    test("takes a whole copy as it is, and none of another length", async () => {
      const content = randomBytes(PIECE);
      const first = await open({ source: new Blob([content]), name: "a" });
      await until(first, "copied");
      await first.close();
      const again = await open({ fileId: first.fileId, source: new Blob([content]), name: "a" });
      expect(again.progress.state).toBe("copied");
      expectSameBytes(await readRange(again, 0, PIECE), content);
      await again.close();
      const { fileId } = first;
      await expectError("FILE_CHANGED", () =>
        open({ fileId, source: new Blob([randomBytes(5)]), name: "a" }),
      );
    });

    test("stops when paused, also by who hears of it first, and goes on", async () => {
      const content = randomBytes(10 * PIECE);
      const file = await open({ source: new Blob([content]), paused: true });
      const unhear = file.onProgress(({ state }) => state === "copying" && file.pause());
      file.resume();
      expect(file.progress.state).toBe("paused");
      unhear();
      await copyUpTo(file, 2 * PIECE);
      const { copiedBytes } = file.progress;
      expectSameBytes(await readRange(file, 0, content.length), content);
      expect(file.progress).toMatchObject({ state: "paused", copiedBytes });
      expect(copiedBytes).toBeLessThan(content.length);
      file.resume();
      await until(file, "copied");
      await file.close();
    });

    test("reads on from its source when the copying is cancelled, and leaves nothing behind", async () => {
      const content = randomBytes(20 * PIECE);
      const file = await open({ source: new Blob([content]) });
      await reached(file, ({ copiedBytes }) => copiedBytes >= 5 * PIECE);
      const reads = [0, 1, 2, 3].map((piece) => readRange(file, piece * PIECE, content.length));
      await file.cancel();
      expect(file.progress).toMatchObject({ state: "cancelled", copiedBytes: 0 });
      for (const [piece, read] of reads.entries())
        expectSameBytes(await read, content.subarray(piece * PIECE));
      expectSameBytes(await readRange(file, 0, content.length), content);
      expect(await sizesOf(file)).toBeUndefined();
      const connection = (await database).connection;
      const keys = (await connection?.getAllKeys("blocks")) ?? [];
      expect(keys.filter(([fileId]) => fileId === file.fileId)).toEqual([]);
      file.resume();
      expect(file.progress.state).toBe("cancelled");
      await file.close();
    });

    test("leaves a whole copy alone when cancelled", async () => {
      const file = await open({ source: new Blob([randomBytes(PIECE)]) });
      await until(file, "copied");
      await file.cancel();
      expect(file.progress.state).toBe("copied");
      expect((await sizesOf(file))?.sizeBytes).toBe(PIECE);
      await file.close();
    });

    test("leaves a copy alone that another opening has made whole, when cancelled", async () => {
      const source = new Blob([randomBytes(3 * PIECE)]);
      const fileId = crypto.randomUUID();
      const stale = await open({ source, fileId, paused: true });
      const other = await open({ source, fileId });
      await until(other, "copied");
      await stale.cancel();
      expect((await sizesOf(other))?.sizeBytes).toBe(3 * PIECE);
      await stale.close();
      await other.close();
      const copy = await openIndexedDbFile({ database: await database, fileId });
      expectSameBytes(await readRange(copy, 0, 3 * PIECE), new Uint8Array(await source.arrayBuffer()));
      await copy.close();
    });

    test("reads no zeros where its copy was deleted and begun anew", async () => {
      const content = randomBytes(20 * PIECE);
      const source = new Blob([content]);
      const fileId = crypto.randomUUID();
      const first = await open({ source, fileId });
      await reached(first, ({ copiedBytes }) => copiedBytes >= 10 * PIECE);
      await first.close();
      const stale = await open({ source, fileId, paused: true });
      expect(await deleteUnfinishedImport({ database: await database, fileId })).toBe(true);
      const anew = await open({ source, fileId, paused: true });
      expectSameBytes(await readRange(stale, 0, content.length), content);
      // It has no part in the new copy.
      stale.resume();
      expect((await until(stale, "failed"))?.code).toBe("NOT_FOUND");
      anew.resume();
      await until(anew, "copied");
      expectSameBytes(await readRange(anew, 0, content.length), content);
      await stale.close();
      await anew.close();
    });

    test("says that the source changed, and never reads zeros instead", async () => {
      const content = randomBytes(30 * PIECE);
      const source = new ChangingBlob([content]);
      const file = await open({ source });
      await reached(file, ({ copiedBytes }) => copiedBytes >= 3 * PIECE);
      source.changed = true;
      const error = await until(file, "failed");
      expect(error?.code).toBe("FILE_CHANGED");
      const { copiedBytes } = file.progress;
      expectSameBytes(await readRange(file, 0, copiedBytes), content.subarray(0, copiedBytes));
      const end = content.length;
      await expectError("FILE_CHANGED", () => readRange(file, copiedBytes, end));
      await expectError("FILE_CHANGED", () => readRange(file, 0, end));
      expect(file.readNow(end - 1, new Uint8Array(1))).toBe(false);
      // It was only out of reach: the copying can go on.
      source.changed = false;
      file.resume();
      await until(file, "copied");
      expectSameBytes(await readRange(file, 0, end), content);
      await file.close();
    });

    test("reads on when nothing more can be stored, and goes on copying when it can again", async () => {
      const content = randomBytes(12 * PIECE);
      const storage = failingDatabase(await database);
      const file = await open({ database: storage, source: new Blob([content]) });
      await reached(file, ({ copiedBytes }) => copiedBytes >= 3 * PIECE);
      storage.failure = new DOMException("The disk is full", "QuotaExceededError");
      const error = await until(file, "failed");
      expect(error?.code).toBe("QUOTA_EXCEEDED");
      const { copiedBytes } = file.progress;
      expect((await sizesOf(file))?.sizeBytes).toBe(copiedBytes);
      expectSameBytes(await readRange(file, 0, content.length), content);
      storage.failure = undefined;
      file.resume();
      await until(file, "copied");
      await file.close();
      const copy = await openIndexedDbFile({ database: await database, fileId: file.fileId });
      expectSameBytes(await readRange(copy, 0, content.length), content);
      await copy.close();
    });

    test("reads from its source what the browser's storage fails to give back", async () => {
      const content = randomBytes(6 * PIECE);
      const first = await open({ source: new Blob([content]), name: "a", paused: true });
      await copyUpTo(first, 4 * PIECE);
      await first.close();
      const storage = failingDatabase(await database);
      const { fileId } = first;
      const options = { database: storage, fileId, name: "a", paused: true };
      const file = await open({ ...options, source: new Blob([content]) });
      storage.failure = new DOMException("The storage is broken", "UnknownError");
      expectSameBytes(await readRange(file, 0, content.length), content);
      storage.failure = undefined;
      file.resume();
      await until(file, "copied");
      storage.failure = new DOMException("The storage is broken", "UnknownError");
      await file.close();
    });

    test("stops copying when it is closed", async () => {
      const file = await open({ source: new Blob([randomBytes(50 * PIECE)]) });
      await reached(file, ({ copiedBytes }) => copiedBytes >= PIECE);
      await file.close();
      const { copiedBytes } = file.progress;
      expect(copiedBytes).toBeLessThan(50 * PIECE);
      expect((await sizesOf(file))?.sizeBytes).toBe(copiedBytes);
    });

    test("refuses pieces that are not whole blocks", async () => {
      for (const pieceBytes of [0, 1000, BLOCK_BYTES + 512])
        await expectError("INVALID_ARGUMENT", () => open({ source: new Blob(["a"]), pieceBytes }));
    });
  });

  async function sizesOf(file: ImportingFile) {
    const sizes = await indexedDbFileSizes(await database);
    return sizes.find(({ fileId }) => fileId === file.fileId);
  }
}

/** Copies at least so much, and pauses. */
async function copyUpTo(file: ImportingFile, bytes: number): Promise<void> {
  const arrived = reached(file, ({ copiedBytes }) => {
    if (copiedBytes < bytes) return false;
    file.pause();
    return true;
  });
  file.resume();
  await arrived;
}

/** Waits for a state, and gives the error it came with. */
export async function until(
  file: ImportingFile,
  wanted: ImportingFile["progress"]["state"],
): Promise<ByreError | undefined> {
  await reached(file, ({ state }) => state === wanted);
  return file.progress.error;
}

function reached(file: ImportingFile, isIt: (progress: ImportingFile["progress"]) => boolean): Promise<void> {
  return new Promise((resolve) => {
    if (isIt(file.progress)) return resolve();
    const unhear = file.onProgress((progress) => {
      if (!isIt(progress)) return;
      unhear();
      resolve();
    });
  });
}

async function readRange(file: BlockFile, start: number, end: number): Promise<Uint8Array> {
  const target = new Uint8Array(end - start).fill(0xa5);
  await file.read(start, target);
  return target;
}

/** A Blob that can fail to be read, as a File does that changed on disk. */
class ChangingBlob extends Blob {
  changed = false;

  override slice(start?: number, end?: number): Blob {
    const part = super.slice(start, end);
    if (this.changed)
      part.arrayBuffer = () => Promise.reject(new DOMException("It changed", "NotReadableError"));
    return part;
  }
}

/** @param used runs after each use, before its user goes on. */
function failingDatabase(
  database: BlockDatabase,
  used: () => Promise<void> = async () => {},
): BlockDatabase & { failure: DOMException | undefined } {
  const failing = {
    failure: undefined as DOMException | undefined,
    name: database.name,
    get connection() {
      return database.connection;
    },
    async use<T>(action: Parameters<typeof database.use<T>>[0]): Promise<T> {
      if (failing.failure) throw failing.failure;
      const result = await database.use(action);
      await used();
      return result;
    },
    close: () => database.close(),
  };
  return failing;
}
