import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { BlockDevice } from "../block-device.ts";
import { createMemoryFile } from "../files/memory-file.ts";
import { checkQcow2 } from "../qcow2/check.ts";
import { type CreateQcow2Options, createQcow2 } from "../qcow2/create.ts";
import { openQcow2 } from "../qcow2/open.ts";
import type { Qcow2Device } from "../qcow2/qcow2-device.ts";
import { expectSameBytes } from "../testing/block-file-suite.ts";
import { createColdFile } from "../testing/cold-file.ts";
import { Bench, hasQemu, qemuImg } from "../testing/qemu.ts";
import { randomBytes } from "../testing/random-bytes.ts";
import { type ExportImageOptions, exportImage } from "./export-image.ts";

const KIB = 1024;
const MIB = 1024 * KIB;
/** Not a whole number of clusters: the last one is cut. */
const SIZE_BYTES = 3 * MIB + 512 * 3;

/** How many pasts of each shape. More: EXPORT_RUNS. */
const RUNS = Number(process.env.EXPORT_RUNS ?? 1);

let bench: Bench;
beforeEach(() => {
  bench = new Bench();
});
afterEach(() => bench.remove());

interface Shape {
  readonly name: string;
  readonly options: Partial<CreateQcow2Options>;
  readonly behind?: "raw" | "longer" | "shorter";
}

const SHAPES: readonly Shape[] = [
  { name: "the usual shape", options: {} },
  { name: "over a raw image", options: {}, behind: "raw" },
  { name: "over a longer image of other clusters", options: { clusterSizeBytes: 4096 }, behind: "longer" },
  { name: "over a shorter image", options: { clusterSizeBytes: 16 * KIB }, behind: "shorter" },
  { name: "version 2 over a longer image", options: { version: 2 }, behind: "longer" },
  { name: "the smallest clusters", options: { clusterSizeBytes: 512 }, behind: "raw" },
  { name: "2 MiB clusters", options: { clusterSizeBytes: 2 * MIB }, behind: "shorter" },
  { name: "zstd over zlib", options: { compression: "zstd" }, behind: "longer" },
  { name: "subclusters", options: { extendedL2: true, clusterSizeBytes: 16 * KIB }, behind: "longer" },
  { name: "encrypted", options: { encryption: { password: "secret" }, clusterSizeBytes: 4096 } },
];

const MODES: readonly (boolean | undefined)[] = [undefined, true, false];

describe.skipIf(!hasQemu)("an exported image is the disk, says QEMU", () => {
  const cases = SHAPES.flatMap((shape, index) =>
    Array.from({ length: RUNS }, (_, run) => ({ ...shape, seed: index + 1 + run * SHAPES.length })),
  );
  for (const { seed, ...shape } of cases) {
    test(`${shape.name}, ${seed}`, async () => {
      const made = await madeBy(shape, randomFrom(seed));
      for (const compress of MODES) {
        const options = compress === undefined ? {} : { compress };
        await expectExport(made, { ...options, snapshots: "all" }, [...made.saved.keys()], made.disk);
      }
      await expectExport(made, {}, [], made.disk);
      const [first] = made.saved.keys();
      if (first === undefined) throw new Error("No snapshot was made.");
      const { disk } = made.saved.get(first) ?? made;
      await expectExport(made, { disk: first, snapshots: [first] }, [first], disk);
      await made.device.close();
    });
  }
});

interface Saved {
  readonly disk: Uint8Array;
  readonly state: Uint8Array;
}

interface Made {
  readonly device: Qcow2Device;
  disk: Uint8Array;
  readonly saved: Map<string, Saved>;
}

type Random = (below: number) => number;

/** An image with a past: data of every kind, snapshots with and without states, a disk that grew and went back. */
async function madeBy({ options, behind }: Shape, random: Random): Promise<Made> {
  const backing = behind === undefined ? undefined : await backingOf(behind, random);
  const file = await coldImage({
    sizeBytes: SIZE_BYTES,
    ...options,
    ...(backing && { backing: { name: "base", format: behind === "raw" ? "raw" : "qcow2" } }),
  });
  const password = options.encryption?.password;
  const device = await openQcow2(file, {
    writable: true,
    ...(password !== undefined && { password }),
    ...(backing && { resolveBacking: async () => backing.file }),
  });
  const made: Made = { device, disk: await diskOf(device), saved: new Map() };
  for (let step = 0; step < 60; step++) await change(made, random);
  await save(made, random);
  await change(made, random);
  made.disk = await diskOf(device);
  await device.flush();
  return made;
}

async function coldImage(options: CreateQcow2Options) {
  const file = createMemoryFile();
  await createQcow2(file, options);
  return createColdFile(file.toBytes(), { capacityPieces: 2048 });
}

async function backingOf(behind: "raw" | "longer" | "shorter", random: Random) {
  const sizeBytes = behind === "shorter" ? MIB + 512 : 4 * MIB;
  if (behind === "raw") {
    const content = new Uint8Array(SIZE_BYTES);
    for (let at = 0; at < content.length; at += 256 * KIB)
      if (random(2)) content.set(randomBytes(100 * KIB).subarray(0, content.length - at), at);
    return { file: createColdFile(content) };
  }
  const file = await coldImage({ sizeBytes, clusterSizeBytes: behind === "longer" ? 64 * KIB : 16 * KIB });
  const device = await openQcow2(file, { writable: true });
  for (let step = 0; step < 20; step++) await write(device, random);
  await device.flush();
  return { file };
}

async function write(device: Qcow2Device, random: Random): Promise<void> {
  const { clusterSizeBytes } = device.info;
  const at = random(device.sizeBytes / 512) * 512;
  const most = device.sizeBytes - at;
  const cluster = Math.floor(at / clusterSizeBytes) * clusterSizeBytes;
  switch (random(6)) {
    case 0:
      return await device.write(at, randomBytes(Math.min(most, (1 + random(200)) * 512)));
    case 1:
      return await device.write(
        at,
        new Uint8Array(Math.min(most, (1 + random(300)) * 512)).fill(1 + random(255)),
      );
    case 2:
      return await device.write(at, new Uint8Array(Math.min(most, (1 + random(300)) * 512)));
    case 3:
      return await device.writeZeroes(at, Math.min(most, (1 + random(900)) * 512), {
        unmap: random(2) === 0,
      });
    case 4:
      return await device.discard(at, Math.min(most, (1 + random(900)) * 512));
    default: {
      if (device.image.cipher) return;
      const bytes = new Uint8Array(clusterSizeBytes).fill(random(256));
      bytes.set(randomBytes(random(clusterSizeBytes)));
      bytes.fill(0, Math.min(clusterSizeBytes, device.sizeBytes - cluster));
      await device.writeCompressed(cluster, bytes);
    }
  }
}

async function change(made: Made, random: Random): Promise<void> {
  const { device, saved } = made;
  const kind = random(20);
  if (kind === 0) await save(made, random);
  else if (kind === 1 && saved.size > 2) {
    const name = [...saved.keys()][random(saved.size)] ?? "";
    await device.deleteSnapshot(name);
    saved.delete(name);
  } else if (kind === 2 && saved.size > 0)
    await device.applySnapshot([...saved.keys()][random(saved.size)] ?? "");
  else if (kind === 3 && device.info.version === 3) await device.resize(device.sizeBytes + random(300) * 512);
  else await write(device, random);
}

async function save(made: Made, random: Random): Promise<void> {
  const { device } = made;
  const { clusterSizeBytes } = device.info;
  const name = `s${made.saved.size}-${random(1e9)}`;
  const state = new Uint8Array(random(3) === 0 ? 0 : 5 * clusterSizeBytes + random(1000));
  if (state.length > 0) {
    for (let i = 0; i < 3; i++) {
      const at = random(5) * clusterSizeBytes;
      state.fill(1 + random(255), at, at + clusterSizeBytes);
    }
    state.fill(7, state.length - 10);
    await device.writeVmState(0, state);
  }
  await device.createSnapshot({
    name,
    dateSeconds: 1_700_000_000 + random(1000),
    vmClockNanoseconds: BigInt(random(1e9)),
    vmStateBytes: state.length,
  });
  made.saved.set(name, { disk: await diskOf(device), state });
}

async function expectExport(
  { device, saved }: Made,
  options: ExportImageOptions,
  snapshots: readonly string[],
  disk: Uint8Array,
): Promise<void> {
  const bytes = await exported(device, options);
  bench.put("out.qcow2", bytes);
  bench.check("out.qcow2");
  expect(qemuImg("info", bench.path("out.qcow2"))).not.toContain("backing");
  expectSameBytes(bench.guestBytes("out.qcow2"), disk);
  const again = await openQcow2(createMemoryFile({ content: bytes }), { writable: true });
  expect(again.snapshots.map(({ name }) => name)).toEqual(snapshots);
  for (const name of snapshots) {
    const was = saved.get(name);
    if (!was) throw new Error(`There is no ${name}.`);
    const view = await again.openSnapshot(name);
    expectSameBytes(await diskOf(view), was.disk);
    // QEMU shows a snapshot in the disk's length.
    const shownBytes = Math.min(was.disk.length, disk.length);
    const shown = bench.guestBytes("out.qcow2", ["-l", name]);
    expectSameBytes(shown.subarray(0, shownBytes), was.disk.subarray(0, shownBytes));
    const before = device.snapshots.find((snapshot) => snapshot.name === name);
    const after = again.snapshots.find((snapshot) => snapshot.name === name);
    for (const key of [
      "id",
      "dateSeconds",
      "dateNanoseconds",
      "vmClockNanoseconds",
      "vmStateBytes",
      "diskBytes",
    ] as const)
      expect(after?.[key]).toBe(before?.[key]);
    const state = await again.openState(name);
    const read = new Uint8Array(state.sizeBytes).fill(0xa5);
    await state.read(0, read);
    expectSameBytes(read, was.state);
  }
  // What the counts and flags say must also let it be changed.
  for (const { name } of [...again.snapshots]) {
    await again.applySnapshot(name);
    await again.write(0, Uint8Array.of(1, 2, 3));
    await again.deleteSnapshot(name);
  }
  await again.flush();
  expect(await problemsOf(again)).toBe(0);
}

async function problemsOf(device: Qcow2Device): Promise<number> {
  const { corruptions, leaks } = await checkQcow2(device.image.file);
  return corruptions + leaks;
}

/** What arrives at a sink, which must be in pieces of at most 1 MiB. */
async function exported(
  device: Qcow2Device,
  options: ExportImageOptions = {},
): Promise<Uint8Array<ArrayBuffer>> {
  const pieces: Uint8Array<ArrayBuffer>[] = [];
  const { sizeBytes } = await exportImage(device, async (piece) => void pieces.push(piece), options);
  expect(pieces.every(({ length }) => length > 0 && length <= MIB)).toBe(true);
  const bytes = new Uint8Array(await new Blob(pieces).arrayBuffer());
  expect(bytes.length).toBe(sizeBytes);
  return bytes;
}

async function diskOf(device: BlockDevice): Promise<Uint8Array> {
  const bytes = new Uint8Array(device.sizeBytes).fill(0xa5);
  await device.read(0, bytes);
  return bytes;
}

/** Mulberry32. */
function randomFrom(seed: number): Random {
  let state = seed * 0x9e3779b9;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * below);
  };
}
