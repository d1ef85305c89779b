import { statSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { ByreError } from "../../disk/index.ts";
import { lastWords, thenClose } from "./last-words.ts";
import { openMedia } from "./media.ts";
import { ExitError } from "./run-exit.ts";
import {
  BANNER,
  byreCommand,
  byreWithin,
  path,
  prepareDisks,
  type Run,
  script,
  WRITE,
} from "./testing/program.ts";

const FULL = new ByreError("QUOTA_EXCEEDED", "Could not write disk: full. Flush again.", {
  file: "disk",
  hostCode: "ENOSPC",
});
const failing = (error: unknown) => async () => {
  throw error;
};

test("a full disk is told of without advice that comes too late", () => {
  expect(lastWords(FULL)).toBe("disk: the disk is full.");
  expect(lastWords(new ByreError("STORAGE", "Could not read disk."))).toBe("Could not read disk.");
});

test.each([
  ["nothing else", async () => {}, 2, "What was written last is not stored: disk: the disk is full."],
  [
    "an end in good order",
    failing(new ExitError(143)),
    2,
    "What was written last is not stored: disk: the disk is full.",
  ],
  [
    "another failure",
    failing(new ExitError(3, "It never came.")),
    3,
    "It never came. What was written last is not stored: disk: the disk is full.",
  ],
  [
    "one that has told of it",
    failing(new ExitError(124, "Not stored: disk: the disk is full.")),
    124,
    "Not stored: disk: the disk is full.",
  ],
])("a failure to close after %s", async (_, work, exitCode, message) => {
  await expect(thenClose(work, failing(FULL))).rejects.toMatchObject({ exitCode, message });
});

test("a failure to start is told, and not the one to close after it", async () => {
  const error = new ByreError("FIRMWARE", "There is none.");
  await expect(thenClose(failing(error), failing(FULL))).rejects.toBe(error);
});

describe("with a full disk", () => {
  prepareDisks();

  test("all disks are closed, also after one that fails, which is told", async () => {
    await byreCommand("create", "-q", "-f", "qcow2", path("second.qcow2"), "1M");
    const media = await openMedia({
      file: path("disk.qcow2"),
      image: {},
      hdb: path("second.qcow2"),
      throwAway: false,
      saves: false,
    });
    const closed: string[] = [];
    for (const [drive, device] of Object.entries(media.disks)) {
      const close = device.close.bind(device);
      device.close = async () => {
        closed.push(drive);
        await close();
        throw new Error(drive);
      };
    }
    await expect(media.close({ unused: false })).rejects.toThrow("hdb");
    expect(closed).toEqual(["hdb", "hda"]);
  });

  /** A guest on a disk whose image cannot grow. */
  const started = async (...words: string[]) => {
    const top = path("top.qcow2");
    await byreCommand("create", "-q", "-f", "qcow2", "-b", path("disk.qcow2"), "-F", "qcow2", top);
    return byreWithin(statSync(top).size, ...words, top);
  };
  const written = async () => {
    const run = await started();
    await run.said(BANNER);
    run.send(WRITE);
    await run.said("=");
    return run;
  };
  const NOT_STORED = "What was written last is not stored: top.qcow2: ";

  test("a run without a terminal ends with 2", async () => {
    const run = await written();
    run.send("F");
    const { code, err } = await run.ended;
    expect(err).toMatch(/^byre: Could not write top\.qcow2: it would be larger.*\n$/);
    expect(code).toBe(2);
  });

  test("a script that waits in vain ends with 3", async () => {
    const file = script(`wait "${BANNER}"`, `send "${WRITE}"`, 'wait "="', 'wait "never" 0.5');
    const { code, err } = await (await started("--script", file)).ended;
    expect(err).toContain('before "never" came');
    expect(err).toContain(NOT_STORED);
    expect(code).toBe(3);
  });

  test.each([
    ["leaving it", (run: Run) => run.send("\x01x")],
    ["SIGTERM", (run: Run) => void run.child.kill("SIGTERM")],
  ])("%s ends it with 2, as not all is stored", async (_, leave) => {
    const run = await written();
    leave(run);
    const { code, err } = await run.ended;
    expect(err).toContain(`byre: ${NOT_STORED}`);
    expect(code).toBe(2);
  });
});
