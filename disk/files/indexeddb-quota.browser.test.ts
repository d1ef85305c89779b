import { afterEach, expect, test, vi } from "vitest";
import { expectError, expectSameBytes } from "../testing/block-file-suite.ts";
import { openTestDatabase } from "../testing/indexeddb-file-cases.ts";
import { randomBytes } from "../testing/random-bytes.ts";
import { storageBuckets } from "../testing/storage-buckets.ts";
import { openIndexedDbFile } from "./indexeddb-file.ts";

const MIB = 1024 * 1024;

afterEach(async () => {
  vi.unstubAllGlobals();
  await storageBuckets.delete("small");
});

test("a full quota loses nothing: neither what is in memory nor what was stored", async () => {
  // A bucket has a quota of its own, so that the tests beside this one keep theirs.
  const bucket = await storageBuckets.open("small", { quota: 2 * MIB });
  vi.stubGlobal("indexedDB", bucket.indexedDB);
  const database = await openTestDatabase();
  const file = await openIndexedDbFile({ database, fileId: "a", create: true, commitAfterMs: 0 });
  const stored = randomBytes(MIB / 4);
  file.write(0, stored);
  await file.flush();

  const content = randomBytes(4 * MIB);
  file.write(0, content);
  for (let attempt = 0; attempt < 2; attempt++) {
    const error = await expectError("QUOTA_EXCEEDED", () => file.flush());
    expect(error.data.dirtyBytes).toBe(content.length);
    expect(file.dirtyBytes).toBe(content.length);
  }
  const read = new Uint8Array(content.length);
  expect(file.readNow(0, read)).toBe(true);
  expectSameBytes(read, content);
  await file.close();

  const again = await openIndexedDbFile({ database, fileId: "a" });
  const before = new Uint8Array(again.sizeBytes);
  await again.read(0, before);
  expectSameBytes(before, stored);
  await again.close();
  database.close();
});
