import { appendFileSync, existsSync, openSync, readFileSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { exerciseImage } from "./format-case.ts";
import { loadShapes } from "./format-shapes.ts";
import { findImageFields } from "./image-fields.ts";
import { applyMutations, type Mutation, planMutations } from "./image-mutations.ts";
import { createRandom } from "./random.ts";

/**
 * The process that runs cases of the format fuzzer: `format-worker.ts FOLDER SEED FROM TO`. Which case it is at
 * stands in FOLDER/at, what it found in FOLDER/found.jsonl, so that the one who started it knows even when it
 * hangs or dies.
 */

/** What a case may take at most. */
const MAX_CPU_MILLISECONDS = 1000;
const MAX_MEMORY_BYTES = 256 * 1024 * 1024;

const [folder = "", seedText = "", fromText = "", toText = ""] = process.argv.slice(2);
const seed = Number(seedText);

const SMALL_BYTES = 500 * 1024;

/** A single array larger than a case may use, even if nothing touches it. */
let hugeArrayBytes = 0;
watchLargeArrays();

const shapes = loadShapes(folder).map((shape) => ({ shape, fields: findImageFields(shape.image) }));
/** Small images come up more often: more cases in the same time, and nothing that only a large one has. */
const lots = shapes.flatMap((one) =>
  new Array<typeof one>(one.shape.image.length > SMALL_BYTES ? 1 : 10).fill(one),
);
const at = openSync(join(folder, "at"), "w");
let unhandled: unknown;
process.on("unhandledRejection", (reason) => {
  unhandled = reason ?? new Error("a promise was rejected with nothing");
});

for (let index = Number(fromText); index < Number(toText); index++) {
  writeSync(at, `${index}`.padEnd(16), 0);
  const plan = planCase(index);
  const problem = await runCase(index, plan.mutations);
  if (problem !== undefined) await report(index, plan.mutations, problem);
}

function planCase(index: number): { mutations: readonly Mutation[] } {
  const { shape, fields } = shapeOf(index);
  return { mutations: planMutations(shape.image, fields, createRandom(seed, index)) };
}

function shapeOf(index: number): (typeof shapes)[number] {
  return createRandom(seed, index, 2).pick(lots);
}

/** @returns what is wrong, or undefined when the case went as it should. */
async function runCase(index: number, mutations: readonly Mutation[]): Promise<string | undefined> {
  const { shape } = shapeOf(index);
  const image = applyMutations(shape.image, mutations);
  const memoryBefore = startMemory();
  const cpuBefore = process.cpuUsage();
  unhandled = undefined;
  hugeArrayBytes = 0;
  let problem: string | undefined;
  try {
    await exerciseImage(image, shape, createRandom(seed, index, 1));
  } catch (error) {
    problem = `threw ${describe(error)}`;
  }
  const cpu = process.cpuUsage(cpuBefore);
  const milliseconds = (cpu.user + cpu.system) / 1000;
  // Lets rejections that nobody handles be told.
  await new Promise((resolve) => setImmediate(resolve));
  if (unhandled !== undefined) problem ??= `left a rejection unhandled: ${describe(unhandled)}`;
  if (milliseconds > MAX_CPU_MILLISECONDS) problem ??= `took ${milliseconds.toFixed()} ms of processor time`;
  if (hugeArrayBytes > 0) problem ??= `asked for an array of ${hugeArrayBytes} bytes`;
  const memory = peakMemory() - memoryBefore;
  if (memory > MAX_MEMORY_BYTES) problem ??= `took ${(memory / 2 ** 20).toFixed()} MiB of memory`;
  return problem;
}

/** Leaves out every change that is not needed for the problem, then saves image and story. */
async function report(index: number, planned: readonly Mutation[], problem: string): Promise<void> {
  let mutations = planned;
  for (let i = mutations.length - 1; i >= 0 && mutations.length > 1; i--) {
    const fewer = mutations.filter((_, j) => j !== i);
    if ((await runCase(index, fewer)) !== undefined) mutations = fewer;
  }
  const { shape } = shapeOf(index);
  const path = join(folder, `case-${seed}-${index}.qcow2`);
  writeFileSync(path, applyMutations(shape.image, mutations));
  const story = {
    seed,
    index,
    shape: shape.name,
    mutations: mutations.map(({ what }) => what),
    problem,
    path,
  };
  appendFileSync(join(folder, "found.jsonl"), `${JSON.stringify(story)}\n`);
}

function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const lines = (error.stack ?? error.message).split("\n").slice(0, 8).join("\n");
  return error.cause === undefined ? lines : `${lines}\ncaused by ${describe(error.cause)}`;
}

/** Where the system can forget the peak, it is that of the case alone; else it can only rise. */
function startMemory(): number {
  if (!existsSync("/proc/self/clear_refs")) return process.resourceUsage().maxRSS * 1024;
  writeFileSync("/proc/self/clear_refs", "5");
  return peakMemory();
}

function peakMemory(): number {
  if (!existsSync("/proc/self/clear_refs")) return process.resourceUsage().maxRSS * 1024;
  const peak = /^VmHWM:\s*(\d+) kB/m.exec(readFileSync("/proc/self/status", "utf8"));
  return Number(peak?.[1] ?? 0) * 1024;
}

/** A function in the constructor's place: a Proxy would take longer than most of what is measured. */
function watchLargeArrays(): void {
  const Plain = globalThis.Uint8Array;
  function Watched(first: ArrayBuffer, offset?: number, length?: number): Uint8Array {
    if (typeof first === "number" && first > MAX_MEMORY_BYTES)
      hugeArrayBytes = Math.max(hugeArrayBytes, first);
    return new Plain(first, offset, length);
  }
  Watched.prototype = Plain.prototype;
  Object.setPrototypeOf(Watched, Plain);
  globalThis.Uint8Array = Watched as unknown as typeof Plain;
}
