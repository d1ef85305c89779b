import { spawnSync } from "node:child_process";
import { copyFileSync, writeFileSync } from "node:fs";
import { ByreError } from "../errors.ts";
import { openNodeFile } from "../files/node-file.ts";
import { type CheckResult, checkQcow2 } from "../qcow2/check.ts";
import type { CheckShape, DamageField } from "./check-shapes.ts";
import type { Bench } from "./qemu.ts";

/** What a check said, ours or QEMU's, in QEMU's terms. */
export interface CheckOutcome {
  /** The JSON's counts; undefined when the check or the opening failed. */
  readonly counts: Record<string, number> | undefined;
  readonly exitCode: number;
  readonly lines: readonly string[];
}

export function qemuCheck(path: string, repair?: "leaks" | "all"): CheckOutcome {
  // Without punching holes where clusters are freed: a damaged image may still read them.
  const opened = `driver=qcow2,file.driver=file,file.filename=${path},file.discard=ignore`;
  const args = ["check", "--image-opts", "--output=json", ...(repair ? ["-r", repair] : []), opened];
  const run = spawnSync("qemu-img", args, { encoding: "utf8", timeout: 20_000, maxBuffer: 64 * 1024 * 1024 });
  const lines = run.stderr.split("\n").filter((line) => line !== "");
  if (!run.stdout.includes("{")) return { counts: undefined, exitCode: run.status ?? -1, lines };
  const json = JSON.parse(run.stdout.slice(run.stdout.indexOf("{"))) as Record<string, number>;
  const { filename: _, format: __, ...counts } = json;
  return { counts, exitCode: run.status ?? -1, lines };
}

export async function ourCheck(path: string, repair?: "leaks" | "all"): Promise<CheckOutcome> {
  const file = await openNodeFile(path, { writable: repair !== undefined });
  const lines: string[] = [];
  try {
    const report = (line: string) => lines.push(line);
    const result = await checkQcow2(file, { report, ...(repair && { repair }) });
    return { counts: asQemuJson(result), exitCode: exitCode(result), lines };
  } catch (error) {
    if (!(error instanceof ByreError) || error.code === "INTERNAL") throw error;
    return { counts: undefined, exitCode: 1, lines: [...lines, error.message] };
  } finally {
    await file.close();
  }
}

/** QEMU's JSON leaves out what is 0, but for the errors of the check itself. */
export function asQemuJson(result: CheckResult): Record<string, number> {
  const all: Record<string, number> = {
    "image-end-offset": result.imageEndOffset,
    "total-clusters": result.totalClusters,
    "allocated-clusters": result.allocatedClusters,
    "fragmented-clusters": result.fragmentedClusters,
    "compressed-clusters": result.compressedClusters,
    corruptions: result.corruptions,
    leaks: result.leaks,
    "corruptions-fixed": result.corruptionsFixed,
    "leaks-fixed": result.leaksFixed,
  };
  const kept = Object.entries(all).filter(([, value]) => value !== 0);
  return { ...Object.fromEntries(kept), "check-errors": result.checkErrors };
}

/**
 * Lines that can be held against each other: without advice, without what only QEMU does, and with those
 * about too many references first and once, since tables are not read in QEMU's order.
 */
export function comparableLines(lines: readonly string[]): string[] {
  const kept = lines
    .map((line) => line.replace(/^qemu-img: ERROR/, "ERROR"))
    .filter((line) => !/^(qcow2: |Use |qemu-img: |You can |.*check failed)/.test(line));
  const isOverflow = (line: string) => line.startsWith("ERROR: overflow");
  return [...new Set(kept.filter(isOverflow)), ...kept.filter((line) => !isOverflow(line))].sort(
    (a, b) => Number(isOverflow(b)) - Number(isOverflow(a)) || (isOverflow(a) ? a.localeCompare(b) : 0),
  );
}

function exitCode(result: CheckResult): number {
  if (result.checkErrors > 0) return 1;
  if (result.corruptions > 0) return 2;
  return result.leaks > 0 ? 3 : 0;
}

/** Numbers that look random and are the same for the same seed (mulberry32). */
export function seededRandom(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 2 ** 32) * below);
  };
}

/**
 * A damaged copy of an image.
 *
 * @param far allows offsets far past the end of the file, which QEMU's repair may grow the file to.
 */
export function damage(
  shape: CheckShape,
  random: (below: number) => number,
  far: boolean,
): { bytes: Uint8Array<ArrayBuffer>; how: string[] } {
  const bytes = shape.bytes.slice();
  const view = new DataView(bytes.buffer);
  const how: string[] = [];
  const kinds = [...new Set(shape.fields.map(({ what }) => what))];
  const pick = <T>(list: readonly T[]): T => list[random(list.length)] as T;
  // Garbage taken for a refcount or snapshot table makes QEMU's repair grow the file to where it points; and
  // QEMU 7.2 forgets all snapshots when it opens an image with bitmaps for a repair.
  const allowed = (offset: number) => far || (offset !== 48 && offset !== 60 && offset !== 64);
  const clusterBytes = 2 ** view.getUint32(20);
  const clusters = Math.ceil(bytes.length / clusterBytes);
  for (let hits = 1 + random(4); hits > 0; hits--) {
    const kind = random(12) === 0 ? "header" : pick(kinds.filter((what) => what !== "header"));
    const field = pick(shape.fields.filter(({ what, offsetBytes }) => what === kind && allowed(offsetBytes)));
    const from = pick(shape.fields.filter(({ what }) => what === kind));
    change(bytes, view, field, from, random, { clusterBytes, clusters, far });
    how.push(`${field.what} at ${field.offsetBytes} = ${hex(bytes, field)}`);
  }
  if (random(15) === 0) {
    const length = Math.max(4096, bytes.length - random(bytes.length / 2));
    how.push(`cut to ${length}`);
    return { bytes: bytes.slice(0, length), how };
  }
  return { bytes, how };
}

function change(
  bytes: Uint8Array,
  view: DataView,
  field: DamageField,
  from: DamageField,
  random: (below: number) => number,
  { clusterBytes, clusters, far }: { clusterBytes: number; clusters: number; far: boolean },
): void {
  const { offsetBytes: at, lengthBytes: length } = field;
  const put64 = (value: bigint) => view.setBigUint64(at, BigInt.asUintN(64, value));
  const somewhere = () => BigInt(random(clusters + 3)) * BigInt(clusterBytes);
  if (length < 8) {
    if (random(2)) bytes[at + random(length)] = random(2) ? random(256) : random(4);
    else for (let i = 0; i < length; i++) bytes[at + i] = random(3) === 0 ? random(3) : 0;
    return;
  }
  switch (random(8)) {
    case 0:
      put64(0n);
      break;
    case 1:
      bytes.copyWithin(at, from.offsetBytes, from.offsetBytes + length);
      break;
    case 2:
      put64(somewhere() | (random(2) ? 1n << 63n : 0n));
      break;
    case 3:
      put64((somewhere() + 512n * BigInt(random(8))) | (random(2) ? 1n << 63n : 0n) | BigInt(random(2)));
      break;
    case 4: {
      const low = field.what === "refcount table" && !far ? 9 : 63;
      bytes[at + 7 - Math.floor(random(low) / 8)] = (bytes[at + 7] ?? 0) ^ (1 << random(8));
      break;
    }
    case 5:
      put64(view.getBigUint64(at) ^ (1n << 63n));
      break;
    case 6:
      if (field.what === "L2")
        put64((1n << 62n) | somewhere() | BigInt(random(0x10000)) | (BigInt(random(8)) << 53n));
      else
        put64(
          view.getBigUint64(at) ^
            (1n << BigInt(field.what === "refcount table" && !far ? random(12) : random(64))),
        );
      break;
    default:
      if (length === 16) view.setBigUint64(at + 8, BigInt(random(2 ** 31)) << BigInt(random(33)));
      else put64(view.getBigUint64(at) | BigInt(random(512)));
  }
}

function hex(bytes: Uint8Array, { offsetBytes, lengthBytes }: DamageField): string {
  return Array.from(bytes.subarray(offsetBytes, offsetBytes + lengthBytes), (byte) =>
    byte.toString(16).padStart(2, "0"),
  ).join("");
}

/** Two copies of a damaged image: one for QEMU, one for us. */
export function putTwice(bench: Bench, bytes: Uint8Array): { theirs: string; ours: string } {
  const theirs = bench.path("theirs.qcow2");
  const ours = bench.path("ours.qcow2");
  writeFileSync(theirs, bytes);
  copyFileSync(theirs, ours);
  return { theirs, ours };
}
