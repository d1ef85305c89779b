import "fake-indexeddb/auto";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { ByreError, type ImportingFile, type ImportProgress } from "../../disk/index.ts";
import { library } from "../library/library.ts";
import { createMachineImport } from "./machine-import.ts";

/** A file whose copying goes as the test says. */
class ScriptedFile {
  progress: ImportProgress;
  private readonly listeners: ((progress: ImportProgress) => void)[] = [];

  constructor(
    readonly name: string,
    totalBytes: number,
    copiedBytes = 0,
  ) {
    const state = copiedBytes < totalBytes ? "paused" : "copied";
    this.progress = { state, copiedBytes, totalBytes, error: undefined };
  }

  get fileId(): string {
    return this.name;
  }

  onProgress(listener: (progress: ImportProgress) => void): () => void {
    this.listeners.push(listener);
    return () => {};
  }

  become(change: Partial<ImportProgress>): void {
    this.progress = { ...this.progress, ...change };
    for (const listener of this.listeners) listener(this.progress);
  }

  pause(): void {
    if (this.progress.state === "copying") this.become({ state: "paused" });
  }

  resume(): void {
    if (["paused", "failed"].includes(this.progress.state))
      this.become({ state: "copying", error: undefined });
  }

  async cancel(): Promise<void> {
    if (this.progress.state !== "copied") this.become({ state: "cancelled", copiedBytes: 0 });
  }
}

function follow(files: ScriptedFile[], paused = false) {
  return createMachineImport("m", files as unknown as ImportingFile[], paused);
}

const update = vi.spyOn(library, "update");

beforeEach(() => {
  update.mockRejectedValue(new Error("is not looked at"));
});

afterEach(() => {
  update.mockReset();
});

it("copies one file after the other, and adds them up", () => {
  const [top, base] = [new ScriptedFile("top", 100), new ScriptedFile("base", 300)];
  const copying = follow([top, base]);
  expect(copying.fileNames).toEqual(["top", "base"]);
  expect([top.progress.state, base.progress.state]).toEqual(["copying", "paused"]);
  top.become({ state: "copied", copiedBytes: 100 });
  expect(base.progress.state).toBe("copying");
  base.become({ copiedBytes: 200 });
  expect(copying.progress).toEqual({
    state: "copying",
    copiedBytes: 300,
    totalBytes: 400,
    error: undefined,
  });
  base.become({ state: "copied", copiedBytes: 300 });
  expect(copying.progress).toMatchObject({ state: "copied", copiedBytes: 400 });
});

it("does not begin by itself when the person has paused it before", () => {
  const file = new ScriptedFile("disk", 100, 40);
  const copying = follow([file], true);
  expect(copying.progress).toMatchObject({ state: "paused", copiedBytes: 40 });
  copying.resume();
  expect(file.progress.state).toBe("copying");
  expect(update).toHaveBeenLastCalledWith("m", { importPaused: undefined });
});

it("stays paused when the next file's turn comes, and remembers it", () => {
  const [top, base] = [new ScriptedFile("top", 100), new ScriptedFile("base", 300)];
  const copying = follow([top, base]);
  copying.pause();
  expect(update).toHaveBeenLastCalledWith("m", { importPaused: true });
  // The piece under way was the last one.
  top.become({ state: "copied", copiedBytes: 100 });
  expect([copying.progress.state, base.progress.state]).toEqual(["paused", "paused"]);
});

it("says why it failed, and goes on where it stopped", () => {
  const file = new ScriptedFile("disk", 100);
  const copying = follow([file]);
  const error = new ByreError("QUOTA_EXCEEDED", "full");
  file.become({ state: "failed", copiedBytes: 30, error });
  expect(copying.progress).toEqual({ state: "failed", copiedBytes: 30, totalBytes: 100, error });
  copying.resume();
  expect(copying.progress).toMatchObject({ state: "copying", copiedBytes: 30, error: undefined });
});

it("gives up all files that are not whole yet", async () => {
  const [top, base] = [new ScriptedFile("top", 100, 100), new ScriptedFile("base", 300, 10)];
  const copying = follow([top, base]);
  await copying.cancel();
  expect([top.progress.state, base.progress.state]).toEqual(["copied", "cancelled"]);
  expect(copying.progress).toMatchObject({ state: "cancelled", copiedBytes: 100 });
  expect(update).toHaveBeenLastCalledWith("m", { importPaused: true });
});

it("tells of changes that can be seen, not of each piece", () => {
  const file = new ScriptedFile("disk", 1_000_000);
  const copying = follow([file]);
  const told = vi.fn();
  copying.onChange(told);
  for (let copiedBytes = 1; copiedBytes <= 4000; copiedBytes++) file.become({ copiedBytes });
  expect(told).not.toHaveBeenCalled();
  file.become({ copiedBytes: 5000 });
  file.become({ copiedBytes: 5001 });
  expect(told).toHaveBeenCalledTimes(1);
});
