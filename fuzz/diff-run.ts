import { appendFileSync, copyFileSync, existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ByreError } from "../disk/index.ts";
import { openNodeFile } from "../disk/node.ts";
import { checkQcow2 } from "../disk/qcow2/check.ts";
import {
  type Command,
  commandText,
  createCommand,
  imageArguments,
  runQemu,
  stepCommands,
} from "./diff-commands.ts";
import { createDiffDriver, type DiffDriver } from "./diff-driver.ts";
import {
  DiffModel,
  type DiffShape,
  type DiffStep,
  PATTERN_BYTES,
  PATTERNS,
  pickShape,
} from "./diff-model.ts";
import { createRandom, type Random } from "./random.ts";

/** What one run came to. */
export interface DiffOutcome {
  readonly steps: number;
  /** What was wrong after the last of the steps; undefined when nothing was. */
  readonly problem: string | undefined;
  /** The run as commands to type in a folder with the base and pattern files. */
  readonly script: readonly string[];
}

/** The two images: the first is made by QEMU, the second by us. */
const IMAGES = ["qemu.qcow2", "byre.qcow2"] as const;
type ImageName = (typeof IMAGES)[number];

class Different extends Error {}

/**
 * Makes two images of one random shape, one by QEMU and one by us, and puts both through one random script:
 * QEMU works on one and we on the other, in half of the runs taking turns. After each step both must hold
 * what a plain array holds, as QEMU reads them and as we do, and both checks must find both clean.
 *
 * @param folder an empty folder for the files; they stay there.
 */
export async function runDiff(seed: number, index: number, folder: string): Promise<DiffOutcome> {
  return new DiffRun(createRandom(seed, index), folder).run();
}

class DiffRun {
  private readonly shape: DiffShape;
  private readonly model: DiffModel;
  private readonly driver: DiffDriver;
  private readonly script: string[] = [];
  private readonly crosswise: boolean;
  private readonly random: Random;

  constructor(
    random: Random,
    private readonly folder: string,
  ) {
    this.random = random;
    this.shape = pickShape(random);
    this.crosswise = random.chance(0.5);
    const patterns = Array.from({ length: PATTERNS }, (_, i) => {
      // One that packs to nothing, one that packs somewhat, one that does not.
      const pattern = random.fill(new Uint8Array(PATTERN_BYTES));
      return i === 2 ? pattern : pattern.map((byte, at) => (i === 0 ? at >> 9 : byte & 15));
    });
    for (const [i, pattern] of patterns.entries()) writeFileSync(join(folder, `pattern${i}`), pattern);
    const backing = this.shape.backing && random.fill(new Uint8Array(this.shape.backing.sizeBytes));
    // Zeros in it too: what is behind an image must show, and be hidden, either way.
    backing?.fill(0, Math.floor(backing.length / 3), Math.floor(backing.length / 2));
    if (backing) writeFileSync(join(folder, "base.raw"), backing);
    this.model = new DiffModel(this.shape, patterns, backing);
    this.driver = createDiffDriver(this.shape, folder, random);
  }

  async run(): Promise<DiffOutcome> {
    let steps = 0;
    try {
      await this.create();
      const count = this.random.between(6, 24);
      for (; steps < count; steps++) await this.step(this.model.pickStep(this.random));
      await this.compareSnapshots();
      return { steps, problem: undefined, script: this.script };
    } catch (error) {
      const problem =
        error instanceof Different ? error.message : `we failed: ${(error as Error).stack ?? error}`;
      return { steps, problem, script: this.script };
    }
  }

  private async create(): Promise<void> {
    if (this.shape.backing?.format === "qcow2")
      await this.mustQemu(["img", "convert", "-f", "raw", "-O", "qcow2", "base.raw", "base.qcow2"]);
    const [theirs, ours] = IMAGES;
    await this.mustQemu(createCommand(this.shape, theirs));
    this.tell(commandText(createCommand(this.shape, ours), "byre"));
    await this.driver.create(ours);
    await this.compare();
  }

  private async step(step: DiffStep): Promise<void> {
    const swap = this.crosswise && this.random.chance(0.5);
    const byQemu: ImageName = swap ? IMAGES[1] : IMAGES[0];
    const byUs: ImageName = swap ? IMAGES[0] : IMAGES[1];
    for (const name of IMAGES) copyFileSync(join(this.folder, name), join(this.folder, `${name}.before`));
    const { sizeBytes } = this.model;
    const theirs = await this.stepQemu(step, byQemu, sizeBytes);
    for (const command of stepCommands(this.shape, step, byUs, sizeBytes, (i) => `pattern${i}`))
      this.tell(commandText(command, "byre"));
    let ours: string | undefined;
    try {
      await this.driver.step(byUs, step, this.model);
    } catch (error) {
      if (!(error instanceof ByreError) || error.code === "INTERNAL") throw error;
      ours = `${error.code}: ${error.message}`;
    }
    if (theirs !== undefined && ours === undefined && isBeyondQemu(step, theirs)) {
      this.script.push("# QEMU cannot; both as they were before");
      for (const name of IMAGES) copyFileSync(join(this.folder, `${name}.before`), join(this.folder, name));
      return;
    }
    if ((theirs === undefined) !== (ours === undefined))
      throw new Different(
        `${JSON.stringify(step)}: QEMU ${theirs === undefined ? "did it" : `refused (${theirs.trim()})`}, ` +
          `we ${ours === undefined ? "did it" : `refused (${ours})`}`,
      );
    // A snapshot that overflows a narrow refcount QEMU gives up half made, with leaks. We must leave none.
    if (theirs !== undefined) copyFileSync(join(this.folder, `${byQemu}.before`), join(this.folder, byQemu));
    else this.model.apply(step);
    await this.compare();
    if ((step.kind === "apply" || step.kind === "delete") && this.random.chance(0.3))
      await this.compareSnapshots();
  }

  /** @returns what QEMU says when it refuses. */
  private async stepQemu(step: DiffStep, image: ImageName, sizeBytes: number): Promise<string | undefined> {
    const commands = [...stepCommands(this.shape, step, image, sizeBytes, (i) => `pattern${i}`)];
    if (
      step.kind === "resize" &&
      step.sizeBytes > sizeBytes &&
      sizeBytes % this.shape.clusterSizeBytes !== 0
    ) {
      // What an earlier, larger disk left in its last cluster QEMU shows again; we do not.
      const end = Math.min(step.sizeBytes, sizeBytes + this.shape.clusterSizeBytes);
      const tail = {
        kind: "write",
        offset: sizeBytes,
        length: end - sizeBytes,
        source: { value: 0 },
      } as const;
      commands.push(...stepCommands(this.shape, tail, image, sizeBytes, () => ""));
    }
    for (const command of commands) {
      this.tell(commandText(command, "qemu"));
      const { code, output } = await runQemu(command, this.folder);
      if (code === 0) continue;
      if (step.kind !== "compressed") return output;
      const plain = { ...step, kind: "write" } as const;
      for (const write of stepCommands(this.shape, plain, image, sizeBytes, (i) => `pattern${i}`))
        await this.mustQemu(write);
    }
    return undefined;
  }

  /** Both images against the model, by both readers; both checks of both. */
  private async compare(): Promise<void> {
    const { folder, shape, model } = this;
    writeFileSync(join(folder, "model.raw"), model.content);
    await Promise.all(
      IMAGES.map(async (name) => {
        const check = await runQemu(["img", "check", ...imageArguments(shape, name)], folder);
        if (check.code !== 0) throw new Different(`qemu-img check ${name}: ${check.output}`);
        await this.compareByQemu(name);
      }),
    );
    for (const name of IMAGES) {
      expectSame(await this.driver.read(name), model.content, `${name}, as we read it`);
      await checkHere(join(folder, name));
    }
  }

  private async compareByQemu(name: ImageName): Promise<void> {
    const { folder, shape, model } = this;
    const out = `${name}.out`;
    const convert: Command = ["img", "convert", ...imageArguments(shape, name), "-O", "raw", out];
    const { code, output } = await runQemu(convert, folder);
    if (code !== 0) throw new Different(`QEMU cannot read ${name}: ${output}`);
    expectSame(await bytesOf(join(folder, out)), model.content, `${name}, as QEMU reads it`);
  }

  private async compareSnapshots(): Promise<void> {
    const { folder, shape, model } = this;
    for (const [snapshot, content] of model.snapshots)
      for (const name of IMAGES) {
        expectSame(await this.driver.read(name, snapshot), content, `${snapshot} of ${name}, as we read it`);
        const out = `${name}.out`;
        const convert: Command = [
          "img",
          "convert",
          "-l",
          snapshot,
          ...imageArguments(shape, name),
          "-O",
          "raw",
          out,
        ];
        const { code, output } = await runQemu(convert, folder);
        if (code !== 0) throw new Different(`QEMU cannot read ${snapshot} of ${name}: ${output}`);
        // QEMU gives a snapshot the size that the disk has now.
        const read = await bytesOf(join(folder, out));
        const both = Math.min(read.length, content.length);
        const what = `${snapshot} of ${name}, as QEMU reads it`;
        expectSame(read.subarray(0, both), content.subarray(0, both), what);
      }
  }

  /** Into a file too: a hang leaves nothing else to go by. */
  private tell(command: string): void {
    this.script.push(command);
    appendFileSync(join(this.folder, "script.txt"), `${command}\n`);
  }

  private async mustQemu(command: Command): Promise<void> {
    this.tell(commandText(command, "qemu"));
    const { code, output } = await runQemu(command, this.folder);
    if (code !== 0) throw new Different(`${commandText(command, "qemu")}: ${output}`);
  }
}

/**
 * What we do and QEMU refuses: to hide a longer backing file where the disk grows, it would have to write zeros, in
 * version 2 and beside compressed clusters with subclusters.
 */
function isBeyondQemu(step: DiffStep, refusal: string): boolean {
  return (
    step.kind === "resize" && refusal.includes("Failed to zero out new clusters: Operation not supported")
  );
}

async function checkHere(path: string): Promise<void> {
  const file = await openNodeFile(path);
  try {
    const lines: string[] = [];
    const { corruptions, leaks, checkErrors } = await checkQcow2(file, {
      report: (line) => lines.push(line),
    });
    if (corruptions + leaks + checkErrors > 0)
      throw new Different(
        `our check of ${file.name}: ${corruptions} errors, ${leaks} leaks, ${checkErrors} check errors\n` +
          lines.join("\n"),
      );
  } finally {
    await file.close();
  }
}

async function bytesOf(path: string): Promise<Uint8Array> {
  const file = await openNodeFile(path);
  const bytes = new Uint8Array(file.sizeBytes);
  await file.read(0, bytes);
  await file.close();
  return bytes;
}

function expectSame(actual: Uint8Array, wanted: Uint8Array, what: string): void {
  if (Buffer.compare(actual, wanted) === 0) return;
  if (actual.length !== wanted.length)
    throw new Different(`${what}, has ${actual.length} bytes; ${wanted.length} were expected`);
  const at = actual.findIndex((byte, index) => byte !== wanted[index]);
  let end = at;
  while (end < wanted.length && actual[end] !== wanted[end]) end++;
  throw new Different(
    `${what}: bytes ${at} to ${end} (and perhaps more) begin ${actual[at]}; ${wanted[at]} was expected`,
  );
}

/** Makes the folder of a run. */
export function makeRunFolder(parent: string, index: number): string {
  const folder = join(parent, `run-${index}`);
  if (!existsSync(folder)) mkdirSync(folder, { recursive: true });
  return folder;
}
