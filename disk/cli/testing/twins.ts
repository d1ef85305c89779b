import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "vitest";
import { runByre } from "../run.ts";

/** How a command ended. */
export interface Ended {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** Runs a command of ours in this process. */
export async function byre(...words: string[]): Promise<Ended> {
  let out = "";
  let err = "";
  const code = await runByre(words, {
    out: (text) => {
      out += text;
    },
    err: (text) => {
      err += text;
    },
    isTerminal: false,
  });
  return { code, out, err };
}

/** Runs one of QEMU's programs. */
export function qemu(program: "qemu-img" | "qemu-io", words: readonly string[]): Ended {
  const run = spawnSync(program, words, { encoding: "utf8", maxBuffer: 2 ** 28 });
  return { code: run.status ?? -1, out: run.stdout, err: run.stderr };
}

export interface Comparison {
  /** Parts of the output that may differ, each replaced by `*` on both sides. */
  readonly except?: readonly RegExp[];
  /** stdout is JSON: compared as values, without these keys wherever they stand. */
  readonly json?: { readonly exceptKeys?: readonly string[] };
  /** stdout is not compared: a failure that QEMU reports there and we on stderr. */
  readonly exceptOut?: boolean;
}

/**
 * Two folders with the same files: in one QEMU works, in the other we do. `@/` in a command's words is the
 * folder, and output is compared with it back in place.
 */
export class Twins {
  private readonly root = mkdtempSync(join(tmpdir(), "byre-twins-"));
  readonly qemuFolder = join(this.root, "qemu");
  readonly byreFolder = join(this.root, "byre");

  constructor() {
    mkdirSync(this.qemuFolder);
    mkdirSync(this.byreFolder);
  }

  /** Runs a program of QEMU's that must succeed; both folders then have what it made. */
  make(program: "qemu-img" | "qemu-io", ...words: string[]): void {
    const ended = qemu(program, placed(words, this.qemuFolder));
    if (ended.code !== 0) throw new Error(`${program} ${words.join(" ")}: ${ended.err}`);
    this.copyToOurs();
  }

  /** Puts a file into both folders. */
  put(name: string, bytes: Uint8Array | string): void {
    writeFileSync(join(this.qemuFolder, name), bytes);
    this.copyToOurs();
  }

  /** Gives our folder what QEMU's has, byte for byte. */
  copyToOurs(): void {
    rmSync(this.byreFolder, { recursive: true });
    cpSync(this.qemuFolder, this.byreFolder, { recursive: true, verbatimSymlinks: true });
  }

  /** Other folders with the same files. */
  copy(): Twins {
    const copy = new Twins();
    cpSync(this.qemuFolder, copy.qemuFolder, { recursive: true, verbatimSymlinks: true });
    copy.copyToOurs();
    return copy;
  }

  /** Stands for what files of ours hold: the same as long as none of them changes. */
  digest(...names: string[]): string {
    const hash = createHash("sha256");
    for (const name of names) hash.update(readFileSync(join(this.byreFolder, name)));
    return hash.digest("hex");
  }

  /** Runs ours alone. */
  async byre(...words: string[]): Promise<Ended> {
    const ended = await byre(...placed(words, this.byreFolder));
    return this.unplaced(ended, this.byreFolder);
  }

  /** Runs QEMU's alone, in its own folder. */
  qemu(program: "qemu-img" | "qemu-io", ...words: string[]): Ended {
    return this.unplaced(qemu(program, placed(words, this.qemuFolder)), this.qemuFolder);
  }

  /** Runs both and holds output and exit code against each other; messages must be there on both or on none. */
  async expectSame(words: readonly string[], comparison: Comparison = {}): Promise<Ended> {
    const theirs = this.qemu("qemu-img", ...words);
    const ours = await this.byre(...words);
    const about = `byre ${words.join(" ")}\n${ours.err}${theirs.err}`;
    expect(ours.code, about).toBe(theirs.code);
    if (comparison.json) {
      const keys = comparison.json.exceptKeys ?? [];
      expect(strip(JSON.parse(ours.out), keys), about).toEqual(strip(JSON.parse(theirs.out), keys));
    } else if (!comparison.exceptOut)
      expect(masked(ours.out, comparison), about).toBe(masked(theirs.out, comparison));
    if (theirs.code !== 0) expect(ours.err, about).not.toBe("");
    return ours;
  }

  /** Holds an image in both folders against each other by QEMU's account: what it says of itself, what it reads as. */
  expectAlike(name: string, exceptKeys: readonly string[] = []): void {
    const [theirs, ours] = [this.qemuFolder, this.byreFolder].map((folder) => {
      const { out, err } = qemu("qemu-img", ["info", "-U", "--output=json", join(folder, name)]);
      if (out === "") throw new Error(err);
      return strip(JSON.parse(out), [
        "filename",
        "actual-size",
        "date-sec",
        "date-nsec",
        "full-backing-filename",
        ...exceptKeys,
      ]);
    });
    expect(ours).toEqual(theirs);
    const compared = qemu("qemu-img", ["compare", join(this.qemuFolder, name), join(this.byreFolder, name)]);
    expect(compared.out + compared.err).toContain("Images are identical.");
    const checked = qemu("qemu-img", ["check", join(this.byreFolder, name)]);
    expect(checked.code, checked.out + checked.err).toBeOneOf([0, 63]);
  }

  close(): void {
    rmSync(this.root, { recursive: true, force: true });
  }

  private unplaced({ code, out, err }: Ended, folder: string): Ended {
    const back = (text: string) => text.replaceAll(`${folder}/`, "@/");
    return { code, out: back(out), err: back(err) };
  }
}

function placed(words: readonly string[], folder: string): string[] {
  return words.map((word) => word.replaceAll("@/", `${folder}/`));
}

function masked(text: string, { except = [] }: Comparison): string {
  return except.reduce((rest, pattern) => rest.replace(pattern, "*"), text);
}

function strip(value: unknown, keys: readonly string[]): unknown {
  if (Array.isArray(value)) return value.map((item) => strip(item, keys));
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([key]) => !keys.includes(key))
      .map(([key, item]) => [key, strip(item, keys)]),
  );
}
