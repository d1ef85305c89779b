import "fake-indexeddb/auto";
import { expect, test } from "vitest";
import { testIndexedDbFile } from "../testing/indexeddb-file-cases.ts";
import { storageError } from "./indexeddb-errors.ts";

testIndexedDbFile(60);

test("names a full quota as such", () => {
  const full = new DOMException("Encountered full disk", "QuotaExceededError");
  const error = storageError(full, "store overlay", { dirtyBytes: 5 });
  expect(error.code).toBe("QUOTA_EXCEEDED");
  expect(error.data.dirtyBytes).toBe(5);
  expect(error.cause).toBe(full);
});
