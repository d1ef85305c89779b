import "fake-indexeddb/auto";
import { expect, it, vi } from "vitest";
import { ByreError } from "../../disk/index.ts";
import { storedFiles } from "../library/block-store.ts";
import { importFiles } from "./import-files.ts";
import { createProgress } from "./progress.ts";

// Where the emulator is, only a build of the page knows.
vi.mock("./emulator-files.ts", () => ({
  cancelled: () => new ByreError("CANCELLED", "The person said so."),
}));

function dropped() {
  const floppy = new File([new Uint8Array(1_474_560)], "boot.img");
  const plain = [new File([new Uint8Array(100_000).fill(1)], "notes.txt")];
  return { disk: undefined, behindDisk: [], cdrom: undefined, floppy, plain };
}

it("keeps no CD of files when the floppy that came with them cannot be read", async () => {
  const sorted = dropped();
  sorted.floppy.slice = () => {
    throw new DOMException("The file was moved.", "NotReadableError");
  };
  const options = { progress: createProgress(), signal: new AbortController().signal };
  await expect(importFiles(sorted, options)).rejects.toMatchObject({ code: "FILE_CHANGED" });
  expect(await storedFiles()).toEqual([]);
});

it("keeps no CD of files when the person cancels while the floppy is copied", async () => {
  const progress = createProgress();
  const abort = new AbortController();
  progress.onChange(() => {
    if (progress.steps().some(({ label }) => label === "boot.img")) abort.abort();
  });
  await expect(importFiles(dropped(), { progress, signal: abort.signal })).rejects.toMatchObject({
    code: "CANCELLED",
  });
  expect(progress.steps()).toMatchObject([{ done: true }, { done: false }]);
  expect(await storedFiles()).toEqual([]);
});
