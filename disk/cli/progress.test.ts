import { expect, it } from "vitest";
import { hasQemu } from "../testing/qemu.ts";
import { type ProgressOptions, startProgress } from "./progress.ts";
import { qemu, Twins } from "./testing/twins.ts";

function record(isTerminal: boolean, options: ProgressOptions) {
  const written = { out: "", err: "" };
  const progress = startProgress(
    {
      out: (text) => {
        written.out += text;
      },
      err: (text) => {
        written.err += text;
      },
      isTerminal,
    },
    options,
  );
  return { progress, written };
}

it.skipIf(!hasQemu)("is with -p what qemu-img prints", () => {
  const twins = new Twins();
  twins.put("disk.raw", new Uint8Array(512));
  const theirs = qemu("qemu-img", [
    "convert",
    "-p",
    "-O",
    "raw",
    `${twins.qemuFolder}/disk.raw`,
    `${twins.qemuFolder}/to.raw`,
  ]);
  twins.close();
  const { progress, written } = record(false, { requested: true });
  progress.update(1);
  progress.update(1);
  progress.end();
  expect(written.out).toBe(theirs.out);
  expect(written.err).toBe("");
});

it("leaves out steps below one percent", () => {
  const { progress, written } = record(false, { requested: true });
  for (const fraction of [0.001, 0.5, 0.502, 0.6, 1]) progress.update(fraction);
  progress.end();
  expect(written.out).toBe("    (0.00/100%)\r    (50.00/100%)\r    (60.00/100%)\r    (100.00/100%)\r\n");
});

it("comes by itself on a terminal when work takes over two seconds, and goes when it is done", () => {
  let nowMs = 0;
  const { progress, written } = record(true, { now: () => nowMs });
  nowMs = 1900;
  progress.update(0.1);
  expect(written.err).toBe("");
  nowMs = 2100;
  progress.update(0.5);
  expect(written.err).toContain("[###############...............] 50%, 3 s left");
  const shown = written.err;
  nowMs = 2101;
  progress.update(0.6);
  expect(written.err).toBe(shown);
  progress.end();
  expect(written.err).toBe(`${shown}\r\x1b[K`);
  expect(written.out).toBe("");
});

it("stays away from what is no terminal, and with -q", () => {
  for (const [isTerminal, quiet] of [
    [false, false],
    [true, true],
  ] as const) {
    let nowMs = 0;
    const { progress, written } = record(isTerminal, { quiet, now: () => nowMs });
    nowMs = 9000;
    progress.update(0.5);
    progress.end();
    expect(written).toEqual({ out: "", err: "" });
  }
});
