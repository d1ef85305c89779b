import { unwrap } from "idb";
import { afterEach, describe, expect, test, vi } from "vitest";
import type { ByreError } from "../errors.ts";
import { BLOCK_BYTES } from "../files/indexeddb-blocks.ts";
import { deleteIndexedDbFile, indexedDbFileSizes } from "../files/indexeddb-catalog.ts";
import { type BlockDatabase, openBlockDatabase } from "../files/indexeddb-database.ts";
import { type IndexedDbFile, type IndexedDbFileOptions, openIndexedDbFile } from "../files/indexeddb-file.ts";
import { expectError, expectSameBytes, testBlockFile } from "./block-file-suite.ts";
import { randomBytes } from "./random-bytes.ts";

/** One database for a run of the suite; every file in it has an id of its own. */
export async function openTestDatabase(): Promise<BlockDatabase> {
  return openBlockDatabase(`test-${crypto.randomUUID()}`);
}

/** No commit but those a test asks for. */
const BY_HAND = { commitAfterMs: 0, commitAboveBytes: Number.POSITIVE_INFINITY };

/** What an IndexedDB file does, in a browser and over a stand-in alike. */
export function testIndexedDbFile(propertyRuns: number): void {
  const database = openTestDatabase();

  async function create(options: Partial<IndexedDbFileOptions> = {}): Promise<IndexedDbFile> {
    const fileId = crypto.randomUUID();
    return openIndexedDbFile({ database: await database, fileId, create: true, ...BY_HAND, ...options });
  }
  async function reopen(file: IndexedDbFile, options: Partial<IndexedDbFileOptions> = {}) {
    return openIndexedDbFile({ database: await database, fileId: file.fileId, ...BY_HAND, ...options });
  }
  async function filled(content: Uint8Array, options: Partial<IndexedDbFileOptions> = {}) {
    const file = await create(options);
    file.write(0, content);
    await file.flush();
    return file;
  }
  async function readAll(file: IndexedDbFile): Promise<Uint8Array> {
    const bytes = new Uint8Array(file.sizeBytes);
    await file.read(0, bytes);
    return bytes;
  }

  for (const [title, cacheBytes] of [
    ["indexeddb file", undefined],
    ["indexeddb file with a cache of one block", BLOCK_BYTES],
  ] as const) {
    testBlockFile(title, {
      async create(content) {
        const options = cacheBytes === undefined ? {} : { cacheBytes };
        const first = await filled(content, options);
        await first.close();
        return { file: await reopen(first, options), reopen: () => reopen(first, options) };
      },
      writable: true,
      durable: true,
      propertyRuns,
    });
  }

  describe("indexeddb file on its own", () => {
    afterEach(() => vi.restoreAllMocks());

    test("does not store what was forgotten before a commit", async () => {
      const file = await filled(new Uint8Array(8 * BLOCK_BYTES).fill(1));
      file.write(0, new Uint8Array(16 * BLOCK_BYTES).fill(2));
      expect(file.dirtyBytes).toBe(16 * BLOCK_BYTES);
      // Parts of blocks are kept.
      file.forget(4 * BLOCK_BYTES - 1, 8 * BLOCK_BYTES + 2);
      expect(file.dirtyBytes).toBe(8 * BLOCK_BYTES);
      const { bytesCommitted } = file.stats();
      await file.flush();
      expect(file.stats().bytesCommitted - bytesCommitted).toBe(8 * BLOCK_BYTES);
      const again = await reopen(file);
      for (const one of [file, again]) {
        const bytes = await readAll(one);
        const firsts = Array.from({ length: 16 }, (_, i) => bytes[i * BLOCK_BYTES]);
        expect(firsts).toEqual([2, 2, 2, 2, 1, 1, 1, 1, 0, 0, 0, 0, 2, 2, 2, 2]);
      }
      await again.close();
      await file.close();
    });

    test("is not made unless asked for", async () => {
      const error = await expectError("NOT_FOUND", async () =>
        openIndexedDbFile({ database: await database, fileId: "nothing" }),
      );
      expect(error.data.fileId).toBe("nothing");
    });

    test("commits on its own some time after a write", async () => {
      const file = await create({ commitAfterMs: 1 });
      file.write(0, Uint8Array.of(1));
      await expect.poll(() => file.stats().commits).toBe(1);
      expect(file.dirtyBytes).toBe(0);
      await file.close();
    });

    test("commits on its own when much is dirty, but never within the caller's turn", async () => {
      const file = await create({ commitAboveBytes: 2 * BLOCK_BYTES });
      file.write(0, randomBytes(2 * BLOCK_BYTES));
      file.write(5 * BLOCK_BYTES, Uint8Array.of(9));
      await expect.poll(() => file.stats().commits).toBe(1);
      expect(file.dirtyBytes).toBe(0);
      const again = await reopen(file);
      expect(again.sizeBytes).toBe(5 * BLOCK_BYTES + 1);
      await again.close();
      await file.close();
    });

    test("makes writers wait when more is dirty than it may hold", async () => {
      const file = await create({ maxDirtyBytes: BLOCK_BYTES });
      file.write(0, randomBytes(2 * BLOCK_BYTES));
      expect(file.canWriteNow(0, 1)).toBe(true);
      await Promise.resolve();
      expect(file.canWriteNow(0, 1)).toBe(false);
      await file.load(0, 1);
      expect(file.canWriteNow(0, 1)).toBe(true);
      expect(file.stats().commits).toBe(1);
      await file.close();
    });

    test("shares one commit among flushes that came while another was under way", async () => {
      const file = await create();
      file.write(0, Uint8Array.of(1));
      const first = file.flush();
      file.write(0, Uint8Array.of(2));
      await Promise.all([first, file.flush(), file.flush(), file.flush()]);
      expect(file.stats().commits).toBe(2);
      await file.close();
    });

    test("keeps everything when a transaction aborts, and stores it with the next flush", async () => {
      const content = randomBytes(5 * BLOCK_BYTES);
      const file = await filled(content);
      const changed = content.slice();
      changed.set(randomBytes(BLOCK_BYTES + 10), 1000);
      file.write(1000, changed.subarray(1000, 1010 + BLOCK_BYTES));

      const aborted = abortNextCommit();
      const flushing = file.flush();
      const late = Uint8Array.of(1, 2, 3);
      file.write(2000, late);
      changed.set(late, 2000);
      await expectError("STORAGE", () => flushing);
      expect(aborted()).toBe(1);
      expect(file.dirtyBytes).toBe(2 * BLOCK_BYTES);
      expectSameBytes(await readAll(file), changed);

      const before = await reopen(file);
      expectSameBytes(await readAll(before), content);
      await before.close();
      await file.flush();
      expect(file.dirtyBytes).toBe(0);
      const after = await reopen(file);
      expectSameBytes(await readAll(after), changed);
      await after.close();
      await file.close();
    });

    test("keeps a truncation when its transaction aborts", async () => {
      const content = randomBytes(4 * BLOCK_BYTES);
      const file = await filled(content, { cacheBytes: 0 });
      file.truncate(BLOCK_BYTES + 5);
      abortNextCommit();
      await expectError("STORAGE", () => file.flush());
      file.truncate(4 * BLOCK_BYTES);
      await file.flush();
      const wanted = new Uint8Array(4 * BLOCK_BYTES);
      wanted.set(content.subarray(0, BLOCK_BYTES + 5));
      const again = await reopen(file);
      expectSameBytes(await readAll(again), wanted);
      await again.close();
      await file.close();
    });

    test("keeps what is written where a truncation had cut a block", async () => {
      const written = await filled(randomBytes(BLOCK_BYTES));
      await written.close();
      const file = await reopen(written);
      file.truncate(100);
      await file.load(100, 4);
      file.write(100, Uint8Array.of(1, 2, 3, 4));
      await file.flush();
      await file.close();
      const again = await reopen(file);
      expectSameBytes((await readAll(again)).subarray(100), Uint8Array.of(1, 2, 3, 4));
      await again.close();
    });

    test("tells listeners of a commit of its own that failed", async () => {
      const file = await create({ commitAfterMs: 1 });
      const errors: ByreError[] = [];
      const stop = file.onCommitError((error) => errors.push(error));
      abortNextCommit();
      file.write(0, Uint8Array.of(1));
      await expect.poll(() => errors.map(({ code }) => code)).toEqual(["STORAGE"]);
      expect(file.dirtyBytes).toBe(BLOCK_BYTES);
      stop();
      await file.flush();
      await file.close();
    });

    test("starts a commit within the call when the page hides, also over one under way", async () => {
      const file = await create();
      file.write(0, Uint8Array.of(1));
      const flushing = file.flush();
      file.write(BLOCK_BYTES, Uint8Array.of(2));
      file.commitOnHide();
      const again = await reopen(file);
      expectSameBytes((await readAll(again)).subarray(BLOCK_BYTES), Uint8Array.of(2));
      await flushing;
      await expect.poll(() => file.dirtyBytes).toBe(0);
      file.write(7, Uint8Array.of(3));
      await file.flush();
      await again.close();
      await file.close();
    });

    test("a commit on hide carries what a commit under way then fails to store", async () => {
      const file = await create();
      file.write(0, Uint8Array.of(1));
      abortNextCommit();
      const flushing = expectError("STORAGE", () => file.flush());
      file.write(BLOCK_BYTES, Uint8Array.of(2));
      file.commitOnHide();
      await flushing;
      const again = await reopen(file);
      const wanted = new Uint8Array(BLOCK_BYTES + 1);
      wanted[0] = 1;
      wanted[BLOCK_BYTES] = 2;
      expectSameBytes(await readAll(again), wanted);
      await again.close();
      await file.close();
    });

    test("refuses to store over another opening's commits", async () => {
      const first = await filled(Uint8Array.of(1));
      const second = await reopen(first);
      first.write(0, Uint8Array.of(2));
      await first.flush();
      await second.load(0, 1);
      second.write(0, Uint8Array.of(3));
      await expectError("IN_USE", () => second.flush());
      const again = await reopen(first);
      expectSameBytes(await readAll(again), Uint8Array.of(2));
      for (const file of [first, second, again]) await file.close();
    });

    test("opens its connection again when it was lost", async () => {
      const own = await openTestDatabase();
      const file = await openIndexedDbFile({ database: own, fileId: "a", create: true, cacheBytes: 0 });
      file.write(0, Uint8Array.of(5));
      own.connection?.close();
      await file.flush();
      own.connection?.close();
      expectSameBytes(await readAll(file), Uint8Array.of(5));
      await file.close();
      own.close();
      await expectError("CLOSED", () => openIndexedDbFile({ database: own, fileId: "a" }));
    });

    test("gives its connection up when another page deletes the database", async () => {
      const own = await openTestDatabase();
      const file = await openIndexedDbFile({ database: own, fileId: "a", create: true });
      file.write(0, Uint8Array.of(5));
      await deleteDatabase(own);
      await expectError("NOT_FOUND", () => file.flush());
      expectSameBytes(await readAll(file), Uint8Array.of(5));
      await file.close();
      own.close();
    });

    test("a page that hides makes no file of what was deleted, whose other blocks would read as zeros", async () => {
      const own = await openTestDatabase();
      const options = { database: own, fileId: "a", ...BY_HAND };
      const written = await openIndexedDbFile({ ...options, create: true });
      written.write(0, randomBytes(2 * BLOCK_BYTES));
      await written.flush();
      await written.close();
      const file = await openIndexedDbFile(options);
      file.write(0, randomBytes(BLOCK_BYTES));
      await deleteDatabase(own);
      const readOther = () => file.read(BLOCK_BYTES, new Uint8Array(BLOCK_BYTES));
      await expectError("NOT_FOUND", readOther);
      const told: ByreError[] = [];
      file.onCommitError((error) => told.push(error));
      file.commitOnHide();
      await expect.poll(() => told.map(({ code }) => code)).toEqual(["NOT_FOUND"]);
      await expectError("NOT_FOUND", readOther);
      expect(file.dirtyBytes).toBe(BLOCK_BYTES);
      await file.close();
      own.close();
    });

    test("never reads a block of a wrong length", async () => {
      const file = await filled(randomBytes(2 * BLOCK_BYTES), { cacheBytes: 0 });
      const connection = (await database).connection;
      await connection?.put("blocks", new Uint8Array(5), [file.fileId, 1]);
      const again = await reopen(file);
      const error = await expectError("CORRUPT", () => readAll(again));
      expect(error.data.offsetBytes).toBe(BLOCK_BYTES);
      await again.close();
      await file.close();
    });

    test("stores nothing for a hole, and deletes what was cut off", async () => {
      const file = await create();
      file.write(100 * BLOCK_BYTES, randomBytes(BLOCK_BYTES));
      await file.flush();
      expect(await sizeOf(file)).toEqual({ sizeBytes: 101 * BLOCK_BYTES, storedBytes: BLOCK_BYTES });
      file.truncate(50 * BLOCK_BYTES);
      await file.flush();
      expect(await sizeOf(file)).toEqual({ sizeBytes: 50 * BLOCK_BYTES, storedBytes: 0 });
      await file.close();
    });

    test("loads each block once for callers that come together", async () => {
      const content = randomBytes(4 * BLOCK_BYTES);
      const written = await filled(content);
      const file = await reopen(written);
      await Promise.all([file.load(0, 3 * BLOCK_BYTES), file.load(BLOCK_BYTES, 3 * BLOCK_BYTES)]);
      expect(file.stats().blocksRead).toBe(4);
      await file.close();
      await written.close();
    });

    test("deleted while it is open reads no zeros for what it had not in memory", async () => {
      const written = await filled(randomBytes(4 * BLOCK_BYTES));
      const file = await reopen(written);
      await written.close();
      await file.read(0, new Uint8Array(BLOCK_BYTES));
      await deleteIndexedDbFile({ database: await database, fileId: file.fileId });
      await expectError("NOT_FOUND", () => file.read(BLOCK_BYTES, new Uint8Array(BLOCK_BYTES)));
      await file.read(0, new Uint8Array(BLOCK_BYTES));
      await file.close();
    });

    test("is deleted whole, and not its neighbours", async () => {
      const kept = await filled(Uint8Array.of(1));
      const gone = await filled(randomBytes(3 * BLOCK_BYTES));
      await gone.close();
      await deleteIndexedDbFile({ database: await database, fileId: gone.fileId });
      await expectError("NOT_FOUND", () => reopen(gone));
      const connection = (await database).connection;
      const keys = (await connection?.getAllKeys("blocks")) ?? [];
      expect(keys.filter(([fileId]) => fileId === gone.fileId)).toEqual([]);
      expectSameBytes(await readAll(kept), Uint8Array.of(1));
      await kept.close();
    });
  });

  async function sizeOf(file: IndexedDbFile) {
    const sizes = await indexedDbFileSizes(await database);
    const found = sizes.find(({ fileId }) => fileId === file.fileId);
    return { sizeBytes: found?.sizeBytes, storedBytes: found?.storedBytes };
  }

  /** Lets the next write transaction begin and then really aborts it; says how many it has aborted. */
  function abortNextCommit(): () => number {
    let count = 0;
    const prototype = Object.getPrototypeOf(unwrap(connectionOf())) as IDBDatabase;
    const original = prototype.transaction;
    const spy = vi.spyOn(prototype, "transaction");
    spy.mockImplementation(function (this: IDBDatabase, ...parameters: Parameters<typeof original>) {
      const transaction = original.apply(this, parameters);
      if (parameters[1] !== "readwrite" || count > 0) return transaction;
      count++;
      const record = { fileId: crypto.randomUUID() };
      transaction.objectStore("files").add(record);
      // The second of the same key is a ConstraintError, which nobody handles: the engine aborts.
      transaction.objectStore("files").add(record);
      return transaction;
    });
    return () => count;
  }

  let opened: BlockDatabase | undefined;
  database.then(
    (ready) => {
      opened = ready;
    },
    () => {},
  );
  function connectionOf() {
    if (!opened?.connection) throw new Error("the test's database is not open");
    return opened.connection;
  }
}

/** What clearing the site's data does, and the browser itself where storage is short. */
async function deleteDatabase({ name }: BlockDatabase): Promise<void> {
  await new Promise((resolve, reject) => {
    const request = indexedDB.deleteDatabase(name);
    request.onsuccess = resolve;
    request.onerror = reject;
  });
}
