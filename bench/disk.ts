import { spawnSync } from "node:child_process";
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, statSync, writeSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { median } from "./median.ts";
import { mixedBytes, PIECE_BYTES } from "./mixed-data.ts";

/**
 * `npm run bench:disk`: the command line against qemu-img on the same files, pair by pair in turning order,
 * since the speed of a machine drifts; the median of the pairs' ratios counts. Then the most memory each took.
 * `npm run bench:disk -- zlib` runs only the rows that the word matches.
 */

const PAIRS = Number(process.env.BENCH_PAIRS ?? 5);
/** Work of many seconds drifts less, and takes longer. */
const LONG_PAIRS = Math.min(PAIRS, 3);
const DATA_MEBI = Number(process.env.BENCH_MEBI ?? 1024);
const MAX_MEMORY_MEBI = 256;
const MAX_START_MS = 150;

/**
 * Of the disk that is checked 4 GiB of 64 are allocated, in the usual 64 KiB clusters: there qemu-img is done in
 * some 10 ms, a quarter of it its start, and Node starts in 40. A million clusters of 4 KiB show the check itself.
 */
const SMALL_CHECK_CLUSTER = "4k";

interface Row {
  readonly work: string;
  /** Ours to QEMU's time; undefined where it is only shown. */
  readonly atMost: number | undefined;
  readonly atMostMs?: number;
  readonly pairs: number;
  /** Arguments of either program; `OUT` is its output. */
  readonly words: readonly string[];
  /** Runs this instead of our command line. */
  readonly instead?: readonly string[];
  /** Makes what the row reads, once. */
  prepare(): void;
}

const folder = mkdtempSync(join(tmpdir(), "byre-bench-disk-"));
const at = (name: string) => join(folder, name);
const byre = join(import.meta.dirname, "..", "lib", "byre.mjs");
const made = new Set<string>();

function main(only: string): void {
  const built = spawnSync(process.execPath, ["scripts/build-cli.mjs"], { stdio: "inherit" });
  if (built.status !== 0) throw new Error("lib/byre.mjs could not be built");
  console.log(
    `${cpus().length} x ${cpus()[0]?.model}, Node ${process.version}, ${PAIRS} pairs, ${DATA_MEBI} MiB of data`,
  );
  const chosen = ROWS.filter(({ work }) => work.includes(only));
  const lines: string[][] = [["work", "at most", "measured", "peak MiB", "pairs"]];
  let missed = false;
  for (const row of chosen) {
    const { cells, ok } = measureRow(row);
    lines.push(cells);
    missed ||= !ok;
    console.log(cells.join(" | "));
  }
  if ("random reads, 1 TiB sparse".includes(only)) {
    const { cells, ok } = measureRandomReads();
    lines.push(cells);
    missed ||= !ok;
  }
  console.log(`\n${table(lines)}`);
  if (missed) process.exitCode = 1;
}

function measureRow(row: Row): { cells: string[]; ok: boolean } {
  row.prepare();
  // The first pair also brings files into the system's cache, and its memory into use.
  runOnce("qemu", row);
  runOnce("byre", row);
  compareOutputs(row);
  const ratios: number[] = [];
  const ourMs: number[] = [];
  const theirMs: number[] = [];
  for (let i = 0; i < row.pairs; i++) {
    const first = i % 2 === 0 ? runOnce("byre", row) : undefined;
    const theirs = runOnce("qemu", row);
    const ours = first ?? runOnce("byre", row);
    ourMs.push(ours);
    theirMs.push(theirs);
    ratios.push(ours / theirs);
  }
  const peakMebi = row.instead ? 0 : peakMemory(row.words.map((word) => placed(word, "byre")));
  removeOutput("byre");
  removeOutput("qemu");
  const ratio = median(ratios);
  const ok =
    ratio <= (row.atMost ?? Number.POSITIVE_INFINITY) &&
    peakMebi <= MAX_MEMORY_MEBI &&
    median(ourMs) <= (row.atMostMs ?? Number.POSITIVE_INFINITY);
  const limit = row.atMostMs === undefined ? `${row.atMost ?? "-"}` : `${row.atMost}, ${row.atMostMs} ms`;
  const times = `${seconds(median(ourMs))} : ${seconds(median(theirMs))}`;
  return {
    cells: [
      row.work,
      limit,
      `${ratio.toFixed(2)}${ok ? "" : " MISSED"} (${times})`,
      peakMebi === 0 ? "" : `${peakMebi} of ${MAX_MEMORY_MEBI}`,
      ratios.map((each) => each.toFixed(2)).join(" "),
    ],
    ok,
  };
}

/** @returns milliseconds from the program's start to its end. */
function runOnce(who: "byre" | "qemu", row: Row): number {
  removeOutput(who);
  const words = row.words.map((word) => placed(word, who));
  const [program = "", ...rest] =
    who === "qemu" ? ["qemu-img", ...words] : [process.execPath, ...(row.instead ?? [byre, ...words])];
  const startMs = performance.now();
  const run = spawnSync(program, rest, { encoding: "utf8" });
  const endMs = performance.now();
  if (run.status !== 0) throw new Error(`${who} ${words.join(" ")}: ${run.stderr}`);
  return endMs - startMs;
}

function removeOutput(who: string): void {
  rmSync(at(`out-${who}`), { force: true });
}

function placed(word: string, who: string): string {
  return word === "OUT" ? at(`out-${who}`) : word;
}

/** A fast wrong copy is no result. */
function compareOutputs({ words }: Row): void {
  if (words[0] !== "convert") return;
  const format = words.includes("qcow2") ? "qcow2" : "raw";
  const outputs = [at("out-byre"), at("out-qemu")];
  qemuImg("compare", "-f", format, "-F", format, ...outputs);
  if (format === "qcow2") qemuImg("check", at("out-byre"));
}

/** Runs a command of ours again, and asks it at its end how much memory it had at most; in MiB. */
function peakMemory(words: readonly string[]): number {
  removeOutput("byre");
  const report = at("peak");
  const script = `process.on("exit", () => require("node:fs").writeFileSync(${JSON.stringify(report)}, String(process.resourceUsage().maxRSS)));`;
  const hook = at("peak.cjs");
  writeWhole(hook, Buffer.from(script));
  const run = spawnSync(process.execPath, ["--require", hook, byre, ...words], { encoding: "utf8" });
  if (run.status !== 0) throw new Error(`byre ${words.join(" ")}: ${run.stderr}`);
  return Math.ceil(Number(readFileSync(report, "utf8")) / 1024);
}

/** Reads all over a disk of 1 TiB, in no order: what is kept of tables and clusters is bounded. */
function measureRandomReads(): { cells: string[]; ok: boolean } {
  const image = at("sparse.qcow2");
  qemuImg("create", "-q", "-f", "qcow2", image, "1T");
  const offsets = Array.from({ length: 4000 }, (_, i) => ((i * 2654435761) % 2 ** 24) * 65536);
  for (let first = 0; first < offsets.length; first += 500)
    qemuIo(
      image,
      offsets.slice(first, first + 500).map((offset) => `write -q ${offset} 64k`),
    );
  const commands = [...offsets.reverse(), ...offsets].flatMap((offset) => ["-c", `read -q ${offset} 64k`]);
  const peakMebi = peakMemory(["io", "-r", ...commands, image]);
  const ok = peakMebi <= MAX_MEMORY_MEBI;
  const measured = ok ? "" : "MISSED";
  return {
    cells: ["random reads, 1 TiB sparse", "memory", measured, `${peakMebi} of ${MAX_MEMORY_MEBI}`, ""],
    ok,
  };
}

function makeRaw(): string {
  const path = at("data.raw");
  once(path, () => {
    const fd = openSync(path, "w");
    for (let i = 0; i < DATA_MEBI; i++) writeSync(fd, mixedBytes(i), 0, PIECE_BYTES, i * PIECE_BYTES);
    closeSync(fd);
  });
  return path;
}

function makeImage(name: string, ...options: string[]): string {
  const path = at(name);
  once(path, () => qemuImg("convert", "-f", "raw", "-O", "qcow2", ...options, makeRaw(), path));
  return path;
}

/** Its clusters are all there, and have never been written: what is checked is how they are found and counted. */
function makeCheckImage(name: string, clusterSize: string): void {
  const path = at(name);
  once(path, () => {
    const options = `preallocation=metadata,cluster_size=${clusterSize}`;
    qemuImg("create", "-q", "-f", "qcow2", "-o", options, path, "4G");
    qemuImg("resize", "-q", path, "64G");
  });
}

function makeStartImage(): void {
  const path = at("start.qcow2");
  once(path, () => qemuImg("create", "-q", "-f", "qcow2", path, "10G"));
}

function once(path: string, make: () => void): void {
  if (made.has(path)) return;
  made.add(path);
  console.log(`  makes ${path}`);
  make();
  console.log(`  ${Math.round(statSync(path).size / 1024 / 1024)} MiB`);
}

function qemuImg(...words: string[]): void {
  const run = spawnSync("qemu-img", words, { encoding: "utf8" });
  if (run.status !== 0) throw new Error(`qemu-img ${words.join(" ")}: ${run.stdout}${run.stderr}`);
}

function qemuIo(image: string, commands: readonly string[]): void {
  // qemu-io makes every write durable by default; nothing here needs that.
  const words = ["-t", "unsafe", ...commands.flatMap((command) => ["-c", command]), image];
  const run = spawnSync("qemu-io", words, { encoding: "utf8" });
  if (run.status !== 0) throw new Error(`qemu-io: ${run.stdout}${run.stderr}`);
}

function writeWhole(path: string, bytes: Buffer): void {
  const fd = openSync(path, "w");
  writeSync(fd, bytes);
  closeSync(fd);
}

function table(lines: readonly (readonly string[])[]): string {
  const widths =
    lines[0]?.map((_, column) => Math.max(...lines.map((line) => line[column]?.length ?? 0))) ?? [];
  return lines
    .map((line) => line.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join(" | "))
    .join("\n");
}

function seconds(ms: number): string {
  return ms < 1000 ? `${ms.toFixed(0)} ms` : `${(ms / 1000).toFixed(2)} s`;
}

const ZSTD = ["-c", "-o", "compression_type=zstd"];
const ROWS: readonly Row[] = [
  {
    work: "convert qcow2 -> raw, uncompressed",
    atMost: 1.2,
    pairs: PAIRS,
    words: ["convert", "-O", "raw", at("plain.qcow2"), "OUT"],
    prepare: () => void makeImage("plain.qcow2"),
  },
  {
    work: "convert zlib qcow2 -> raw",
    atMost: 1.0,
    pairs: PAIRS,
    words: ["convert", "-O", "raw", at("zlib.qcow2"), "OUT"],
    prepare: () => void makeImage("zlib.qcow2", "-c"),
  },
  {
    work: "convert raw -> zlib qcow2",
    atMost: 1.0,
    pairs: LONG_PAIRS,
    words: ["convert", "-f", "raw", "-O", "qcow2", "-c", at("data.raw"), "OUT"],
    prepare: () => void makeRaw(),
  },
  {
    work: "convert zstd qcow2 -> raw",
    atMost: 1.5,
    pairs: PAIRS,
    words: ["convert", "-O", "raw", at("zstd.qcow2"), "OUT"],
    prepare: () => void makeImage("zstd.qcow2", ...ZSTD),
  },
  {
    work: `check, 64 GiB virtual and 4 GiB allocated (${SMALL_CHECK_CLUSTER} clusters)`,
    atMost: 2.0,
    pairs: PAIRS,
    words: ["check", at("check.qcow2")],
    prepare: () => makeCheckImage("check.qcow2", SMALL_CHECK_CLUSTER),
  },
  {
    work: "check, the same in 64k clusters",
    atMost: 2.0,
    pairs: PAIRS,
    words: ["check", at("check-64k.qcow2")],
    prepare: () => makeCheckImage("check-64k.qcow2", "64k"),
  },
  {
    work: "create, process start included",
    atMost: 5,
    atMostMs: MAX_START_MS,
    pairs: 3 * PAIRS,
    words: ["create", "-q", "-f", "qcow2", "OUT", "10G"],
    prepare() {},
  },
  {
    work: "info, process start included",
    atMost: 5,
    atMostMs: MAX_START_MS,
    pairs: 3 * PAIRS,
    words: ["info", at("start.qcow2")],
    prepare: () => makeStartImage(),
  },
  {
    work: "Node alone, to the same info",
    atMost: undefined,
    pairs: 3 * PAIRS,
    words: ["info", at("start.qcow2")],
    instead: ["-e", "0"],
    prepare: () => makeStartImage(),
  },
];

try {
  main(process.argv[2] ?? "");
} finally {
  rmSync(folder, { recursive: true, force: true });
}
