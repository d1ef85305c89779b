import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { afterAll, beforeAll, beforeEach, onTestFinished } from "vitest";
import { createMemoryFile, createQcow2, openQcow2 } from "../../../disk/index.ts";
import { ensureLibrary } from "../../../scripts/steps.mjs";
import { TINY_GUEST_BANNER, TINY_GUEST_FREE_SECTOR, tinyGuestImage } from "../../testing/tiny-guest.ts";

const PROGRAM = join(import.meta.dirname, "../../../lib/byre.mjs");
const SIZE_BYTES = 1024 * 1024;
/** The tiny guest needs no more. */
const SMALL = ["--memory", "16", "--vga-memory", "1"];
export const BANNER = TINY_GUEST_BANNER.trim();
/** Puts 5Ah into the serial port's scratch register, and asks for it: a machine that has booted anew has 0 there. */
export const POKE = "o03FF5A";
export const PEEK = "i03FF";
/** Writes a sector full of 5Ah, and says so to nobody but the disk. */
export const SECTOR = TINY_GUEST_FREE_SECTOR.toString(16).padStart(8, "0").toUpperCase();
export const WRITE = `W${SECTOR}5A`;

const folder = mkdtempSync(join(tmpdir(), "byre-run-"));
export const path = (name: string) => join(folder, name);

/** Builds the program, and makes for each test a disk with the tiny guest: disk.raw, disk.qcow2, disk.tar. */
export function prepareDisks(): void {
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
}

export interface Run {
  readonly child: ChildProcess;
  send(text: string): void;
  /** Waits for text in what it said so far, after what was waited for before. */
  said(text: string): Promise<void>;
  /** Resolves when all that it started have ended too. */
  readonly ended: Promise<{ code: number | null; out: string; err: string; told: string }>;
}

/** Starts a program. What it writes to its file descriptor 3 is `told`. */
export function start(command: string, words: readonly string[]): Run {
  // `script` runs the user's own shell, unless there is none.
  const env = { ...process.env, SHELL: "/bin/sh" };
  const child = spawn(command, words, { stdio: ["pipe", "pipe", "pipe", "pipe"], env });
  onTestFinished(() => void child.kill("SIGKILL"));
  const collected = { out: "", err: "", told: "" };
  const collect = (stream: Readable, name: keyof typeof collected) =>
    stream.setEncoding("utf8").on("data", (text: string) => {
      collected[name] += text;
    });
  const stdout = collect(child.stdout as Readable, "out");
  collect(child.stderr as Readable, "err");
  collect(child.stdio[3] as Readable, "told");
  let read = 0;
  const ended = new Promise<{ code: number | null } & typeof collected>((resolve) => {
    child.once("close", (code) => resolve({ code, ...collected }));
  });
  const said = (text: string) =>
    new Promise<void>((resolve, reject) => {
      const look = () => {
        const at = collected.out.indexOf(text, read);
        if (at < 0) return;
        read = at + text.length;
        stdout.off("data", look);
        resolve();
      };
      stdout.on("data", look);
      void ended.then(() =>
        reject(new Error(`It ended without ${JSON.stringify(text)}: ${collected.out}${collected.err}`)),
      );
      look();
    });
  return { child, send: (text) => void child.stdin?.write(text), said, ended };
}

const wordsOf = (words: readonly string[]) => [PROGRAM, "run", ...SMALL, ...words];

export const byre = (...words: string[]) => start(process.execPath, wordsOf(words));

/** `byre run` where no file can grow past a size, as on a full disk. */
export const byreWithin = (bytes: number, ...words: string[]) =>
  start("prlimit", [`--fsize=${bytes}`, process.execPath, ...wordsOf(words)]);

/** Another command than `run`, to its end. */
export const byreCommand = (...words: string[]) => start(process.execPath, [PROGRAM, ...words]).ended;

/** `byre run` as a shell is to run it. */
export const quoted = (...words: string[]) =>
  [process.execPath, ...wordsOf(words)].map((word) => `'${word}'`).join(" ");

/** A shell on a pseudo-terminal. */
export const inTerminal = (shellCommand: string) =>
  start("script", ["--quiet", "--return", "--command", shellCommand, "/dev/null"]);

/** The same between two looks at the terminal's settings. */
export const onTerminal = (...words: string[]) =>
  inTerminal(
    `stty -a >'${path("before")}'; ${quoted(...words)}; code=$?; stty -a >'${path("after")}'; exit $code`,
  );

export function script(...lines: string[]): string {
  writeFileSync(path("test.script"), lines.join("\n"));
  return path("test.script");
}

export const sectorOfDisk = (name: string) => readFileSync(path(name))[TINY_GUEST_FREE_SECTOR * 512];
