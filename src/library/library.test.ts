import "fake-indexeddb/auto";
import { afterEach, expect, it, vi } from "vitest";
import { library } from "./library.ts";
import type { MachineRecord } from "./machine-record.ts";

const RECORD: MachineRecord = {
  id: "m",
  name: "m",
  createdAt: 0,
  lastUsedAt: 0,
  base: { name: "a", source: { kind: "url", url: "https://example.org/a" }, identity: { sizeBytes: 1 } },
  behindBase: [],
  overlayFileId: "overlay",
  configuration: {},
};

afterEach(() => {
  vi.restoreAllMocks();
});

it("changes some fields of a record, and takes one away that is undefined", async () => {
  await library.put({ ...RECORD, openedAt: 5 });
  const changed = await library.update("m", { name: "n", openedAt: undefined });
  expect(changed).toMatchObject({ name: "n", openedAt: undefined, overlayFileId: "overlay" });
  expect(await library.get("m")).toEqual(changed);
  await expect(library.update("gone", { name: "n" })).rejects.toMatchObject({ code: "NOT_FOUND" });
});

it.each([
  ["QuotaExceededError", "QUOTA_EXCEEDED", /storage for this site is full/],
  ["UnknownError", "STORAGE", /reported UnknownError/],
])("says what a browser's %s without a message means", async (name, code, message) => {
  await library.put(RECORD);
  vi.spyOn(IDBObjectStore.prototype, "put").mockImplementation(() => {
    throw new DOMException("", name);
  });
  await expect(library.update("m", { name: "n" })).rejects.toMatchObject({
    code,
    message: expect.stringMatching(message),
  });
});
