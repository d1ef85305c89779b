import { afterEach, expect, test, vi } from "vitest";
import { expectSameBytes } from "../testing/block-file-suite.ts";
import { testImportingFile, until } from "../testing/importing-file-cases.ts";
import { openTestDatabase } from "../testing/indexeddb-file-cases.ts";
import { randomBytes } from "../testing/random-bytes.ts";
import { storageBuckets } from "../testing/storage-buckets.ts";
import { openImportingFile } from "./importing-file.ts";

testImportingFile();

const MIB = 1024 * 1024;

afterEach(async () => {
  vi.unstubAllGlobals();
  await storageBuckets.delete("small");
});

test("a full quota stops the copying and nothing else", async () => {
  const bucket = await storageBuckets.open("small", { quota: 2 * MIB });
  vi.stubGlobal("indexedDB", bucket.indexedDB);
  const database = await openTestDatabase();
  const content = randomBytes(8 * MIB);
  const source = new File([content], "a.qcow2");
  const file = await openImportingFile({ database, fileId: "a", source, pieceBytes: MIB / 2 });
  const error = await until(file, "failed");
  expect(error?.code).toBe("QUOTA_EXCEEDED");
  expect(file.progress.copiedBytes).toBeGreaterThan(0);
  const read = new Uint8Array(content.length);
  await file.read(0, read);
  expectSameBytes(read, content);
  await file.cancel();
  await file.close();
  database.close();
});
