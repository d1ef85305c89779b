import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test } from "vitest";
import { createMemoryFile, createQcow2, openQcow2 } from "../../disk/index.ts";
import { ensureLibrary } from "../../scripts/steps.mjs";
import {
  TINY_GUEST_BANNER,
  TINY_GUEST_FREE_SECTOR,
  tinyGuestChecksum,
  tinyGuestImage,
} from "../testing/tiny-guest.ts";

const PROGRAM = join(import.meta.dirname, "../../lib/byre.mjs");
const SIZE_BYTES = 1024 * 1024;
/** The tiny guest needs no more. */
const SMALL = ["--memory", "16", "--vga-memory", "1"];
const BANNER = TINY_GUEST_BANNER.trim();
/** Puts 5Ah into the serial port's scratch register, and asks for it: a machine that has booted anew has 0 there. */
const POKE = "o03FF5A";
const PEEK = "i03FF";
/** Writes a sector full of 5Ah, and says so to nobody but the disk. */
const SECTOR = TINY_GUEST_FREE_SECTOR.toString(16).padStart(8, "0").toUpperCase();
const WRITE = `W${SECTOR}5A`;

const folder = mkdtempSync(join(tmpdir(), "byre-run-"));
const path = (name: string) => join(folder, name);

beforeAll(async () => {
  await ensureLibrary();
}, 120_000);
afterAll(() => rmSync(folder, { recursive: true }));
beforeEach(async () => {
  writeFileSync(path("disk.raw"), tinyGuestImage(SIZE_BYTES));
  const file = createMemoryFile({ name: "disk.qcow2" });
  await createQcow2(file, { sizeBytes: SIZE_BYTES });
  const device = await openQcow2(file, { writable: true });
  await device.write(0, tinyGuestImage(SIZE_BYTES));
  await device.flush();
  writeFileSync(path("disk.qcow2"), file.toBytes());
  await device.close();
  spawnSync("tar", ["-cf", path("disk.tar"), "-C", folder, "disk.qcow2"]);
});

interface Run {
  readonly child: ChildProcess;
  send(text: string): void;
  /** Waits for text in what it said so far, after what was waited for before. */
  said(text: string): Promise<void>;
  readonly ended: Promise<{ code: number | null; out: string; err: string }>;
}

function start(command: string, words: readonly string[]): Run {
  const child = spawn(command, words, { stdio: "pipe" });
  onTestFinished(() => void child.kill("SIGKILL"));
  let out = "";
  let err = "";
  let read = 0;
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    out += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    err += text;
  });
  const ended = new Promise<{ code: number | null; out: string; err: string }>((resolve) => {
    child.once("close", (code) => resolve({ code, out, err }));
  });
  const said = (text: string) =>
    new Promise<void>((resolve, reject) => {
      const look = () => {
        const at = out.indexOf(text, read);
        if (at < 0) return;
        read = at + text.length;
        child.stdout.off("data", look);
        resolve();
      };
      child.stdout.on("data", look);
      void ended.then(() => reject(new Error(`It ended without ${JSON.stringify(text)}: ${out}${err}`)));
      look();
    });
  return { child, send: (text) => void child.stdin.write(text), said, ended };
}

const byre = (...words: string[]) => start(process.execPath, [PROGRAM, "run", ...SMALL, ...words]);

/** The same on a pseudo-terminal, between two looks at its settings. */
function onTerminal(...words: string[]): Run {
  const quoted = [process.execPath, PROGRAM, "run", ...SMALL, ...words].map((word) => `'${word}'`).join(" ");
  const run = start("script", [
    "--quiet",
    "--return",
    "--command",
    `stty -a >'${path("before")}'; ${quoted}; code=$?; stty -a >'${path("after")}'; exit $code`,
    "/dev/null",
  ]);
  return run;
}

function script(...lines: string[]): string {
  writeFileSync(path("test.script"), lines.join("\n"));
  return path("test.script");
}

const sectorOfDisk = (name: string) => readFileSync(path(name))[TINY_GUEST_FREE_SECTOR * 512];

describe("byre run", () => {
  test("plays a script, and ends with 0 when the guest switches itself off", async () => {
    const file = script(`wait "${BANNER}"`, `send "${WRITE}"`, 'wait "="', 'send "P"', "wait off 10");
    const { code, out, err } = await byre("-f", "raw", path("disk.raw"), "--script", file).ended;
    expect(err).toBe("");
    expect(code).toBe(0);
    expect(out).toContain(BANNER);
    expect(sectorOfDisk("disk.raw")).toBe(0x5a);
  });

  test("puts what comes on standard input on the serial port; Ctrl-A X leaves, with everything stored", async () => {
    const run = byre("-f", "raw", path("disk.raw"));
    await run.said(BANNER);
    run.send("Egood evening\n");
    await run.said("good evening");
    run.send(WRITE);
    await run.said("=");
    run.send("\x01x");
    expect((await run.ended).code).toBe(0);
    expect(sectorOfDisk("disk.raw")).toBe(0x5a);
  });

  test("gives the terminal back as it was; Ctrl-C and Ctrl-A Ctrl-A are the guest's", async () => {
    const run = onTerminal("-f", "raw", path("disk.raw"));
    await run.said(BANNER);
    run.send("Ea\x03b\x01\x01c\n");
    await run.said("a\x03b\x01c");
    run.send("\x01h");
    await run.said("Ctrl-A X        leave");
    run.send("\x01X");
    expect((await run.ended).code).toBe(0);
    expect(readFileSync(path("after"), "utf8")).toBe(readFileSync(path("before"), "utf8"));
  });

  test.each([
    ["SIGTERM", 143],
    ["SIGINT", 130],
    ["SIGHUP", 129],
  ] as const)("%s ends it well, with everything stored", async (signal, exitCode) => {
    const run = byre("-f", "raw", path("disk.raw"));
    await run.said(BANNER);
    run.send(WRITE);
    await run.said("=");
    run.child.kill(signal);
    expect((await run.ended).code).toBe(exitCode);
    expect(sectorOfDisk("disk.raw")).toBe(0x5a);
  });

  test("--snapshot leaves the image as it is", async () => {
    for (const [name, ...more] of [["disk.raw"], ["disk.qcow2"]] as const) {
      const before = readFileSync(path(name));
      const file = script(`wait "${BANNER}"`, `send "${WRITE}F"`, 'wait "="', 'wait "="', "leave");
      const { code, err } = await byre("--snapshot", ...more, path(name), "--script", file).ended;
      expect(err).toBe("");
      expect(code).toBe(0);
      expect(readFileSync(path(name)).equals(before)).toBe(true);
    }
  });

  test("a machine that was saved on leaving goes on where it was", async () => {
    const first = byre("--savevm-on-exit", "evening", path("disk.qcow2"));
    await first.said(BANNER);
    first.send(POKE);
    await first.said("=00000000");
    first.send("\x01x");
    expect((await first.ended).err).toBe("");
    const second = byre("--loadvm", "evening", path("disk.qcow2"));
    second.send(PEEK);
    await second.said("=0000005A");
    second.send("P");
    const { code, err } = await second.ended;
    expect(err).toBe("");
    expect(code).toBe(0);
  });

  test("a machine without a qcow2 disk is saved to --state", async () => {
    writeFileSync(path("floppy.img"), tinyGuestImage(1440 * 1024));
    const words = ["--floppy", path("floppy.img"), "--state", path("state.qcow2")];
    const first = byre(...words, "--savevm-on-exit", "here");
    await first.said(BANNER);
    first.send(POKE);
    await first.said("=00000000");
    first.send("\x01x");
    expect((await first.ended).err).toBe("");
    const second = byre(...words, "--loadvm", "here");
    second.send(PEEK);
    await second.said("=0000005A");
    second.send("\x01x");
    expect((await second.ended).code).toBe(0);
  });

  test("--snapshot starts from what the image says it starts from, and leaves it as it is", async () => {
    const first = byre("--savevm-on-exit", "evening", path("disk.qcow2"));
    await first.said(BANNER);
    first.send(`${POKE}${WRITE}`);
    await first.said("=00000000\n=");
    first.send("\x01x");
    await first.ended;
    const later = byre(path("disk.qcow2"));
    await later.said(BANNER);
    later.send(WRITE.replace(/5A$/, "77"));
    await later.said("=");
    later.send("\x01x");
    await later.ended;
    await start(process.execPath, [PROGRAM, "meta", "set", path("disk.qcow2"), "machine.snapshot=evening"])
      .ended;
    const before = readFileSync(path("disk.qcow2"));

    const hinted = byre("--time-limit", "0.2", path("disk.qcow2"));
    expect((await hinted.ended).err).toContain("--loadvm evening");
    expect(readFileSync(path("disk.qcow2")).equals(before)).toBe(true);
    const run = byre("--snapshot", path("disk.qcow2"));
    run.send(`${PEEK}R${SECTOR}`);
    await run.said("=0000005A");
    await run.said(`=${tinyGuestChecksum(new Uint8Array(512).fill(0x5a))}`);
    run.send("P");
    expect((await run.ended).code).toBe(0);
    expect(readFileSync(path("disk.qcow2")).equals(before)).toBe(true);
    const booted = byre("--snapshot", "--no-loadvm", path("disk.qcow2"));
    await booted.said(BANNER);
    booted.send(`${PEEK}R${SECTOR}`);
    await booted.said("=00000000");
    await booted.said(`=${tinyGuestChecksum(new Uint8Array(512).fill(0x77))}`);
  });

  test("a script that waits in vain ends with 3, and says where and what came instead", async () => {
    const file = script(`wait "${BANNER}"`, 'send "Ehello\\n"', 'wait "goodbye" 0.5');
    const { code, err } = await byre("-f", "raw", path("disk.raw"), "--script", file).ended;
    expect(code).toBe(3);
    expect(err).toContain('test.script:3: 0.5 s passed before "goodbye" came. The output ends:');
    expect(err).toContain("hello");
  });

  test("a guest that crashes ends it with 2", async () => {
    const run = byre("-f", "raw", path("disk.raw"));
    await run.said(BANNER);
    run.send("K");
    const { code, err } = await run.ended;
    expect(code).toBe(2);
    expect(err).toContain("panicked");
  });

  test.each([
    [[path("missing")], "missing"],
    [[path("disk.raw")], "say -f raw to have it written"],
    [[], "something to boot from"],
    [[`tar:${path("disk.tar")}/disk.qcow2`], "With --snapshot it need not be written"],
    [["--loadvm", "none", path("disk.qcow2")], "none"],
    [["--snapshot", "--savevm-on-exit", "x", path("disk.qcow2")], "--snapshot keeps nothing"],
    [["--memory", "lots", path("disk.qcow2")], "It must be a number of MiB"],
    [["--script", path("disk.qcow2.script"), path("disk.qcow2")], "the script cannot be read"],
  ])("%j is refused with 1", async (words, message) => {
    const { code, err, out } = await byre(...words).ended;
    expect(code).toBe(1);
    expect(err).toContain(message);
    expect(out).toBe("");
  });

  test("byre snapshot --details tells of the machines that are saved", async () => {
    const snapshot = (...words: string[]) =>
      start(process.execPath, [PROGRAM, "snapshot", ...words, path("disk.qcow2")]).ended;
    expect((await snapshot("-c", "disk alone")).code).toBe(0);
    const run = byre("--no-acpi", "--savevm-on-exit", "evening", path("disk.qcow2"));
    await run.said(BANNER);
    run.send("\x01x");
    await run.ended;
    const { code, out, err } = await snapshot("--details");
    expect(err).toBe("");
    expect(code).toBe(0);
    expect(out).toMatch(/^1: disk alone\n {4}date .*\n {4}takes .*\n {4}disk {8}1 MiB\n {4}machine {5}none/);
    expect(out).toMatch(/^2: evening\n/m);
    expect(out).toContain("16 MiB, 1 MiB graphics, no ACPI, boots from disk");
    expect(out).toMatch(/^ {4}emulator {4}v86 /m);
    const both = await snapshot("--details", "-l");
    expect(both.code).toBe(1);
    expect(both.err).toContain("--details stands alone");
  });
});
