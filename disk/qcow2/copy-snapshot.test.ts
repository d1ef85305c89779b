import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { createMemoryFile, type MemoryFile } from "../files/memory-file.ts";
import { Bench, hasQemu } from "../testing/qemu.ts";
import { copyDisk, copySnapshot } from "./copy-snapshot.ts";
import { createQcow2 } from "./create.ts";
import { openQcow2 } from "./open.ts";
import type { Qcow2Device } from "./qcow2-device.ts";

const CLUSTER = 64 * 1024;
const MIB = 1024 * 1024;
const SIZE = 8 * MIB;

const plain = (value: number) => new Uint8Array(CLUSTER).fill(value);

async function readAll(device: Qcow2Device): Promise<Uint8Array> {
  const bytes = new Uint8Array(device.sizeBytes);
  await device.read(0, bytes);
  return bytes;
}

describe.skipIf(!hasQemu)("copies of one snapshot, or of the disk alone", () => {
  let bench: Bench;
  let base: Uint8Array;
  beforeEach(() => {
    bench = new Bench();
    base = new Uint8Array(SIZE);
    for (let i = 0; i < SIZE; i++) base[i] = (i >> 12) % 251;
    bench.put("base.raw", base);
  });
  afterEach(() => bench.remove());

  async function overlay(name: string, options: { compression?: "zlib" | "zstd" } = {}): Promise<MemoryFile> {
    const file = createMemoryFile({ name });
    await createQcow2(file, { sizeBytes: SIZE, backing: { name: "base.raw", format: "raw" }, ...options });
    return file;
  }

  const open = (file: MemoryFile) =>
    openQcow2(file, {
      resolveBacking: async () => createMemoryFile({ name: "base.raw", content: base, writable: false }),
    });

  /** A snapshot with zeros, compressed and plain clusters in disk and state; and the disk gone on since. */
  async function makeSource(options: { compression?: "zlib" | "zstd" } = {}) {
    const device = await open(await overlay("from.qcow2", options));
    await device.write(100, new Uint8Array(70_000).fill(1));
    await device.writeZeroes(2 * CLUSTER, 3 * CLUSTER, { unmap: true });
    await device.writeCompressed(10 * CLUSTER, plain(2));
    await device.writeCompressed(11 * CLUSTER, plain(3));
    const state = await device.beginState({ maxStateBytes: 2000 * CLUSTER });
    await state.writeCluster(0, plain(20));
    await state.writePacked(1, device.image.codec.compress(plain(21)) ?? plain(0));
    await state.writeZeros(2, 2);
    await state.writeCluster(1500, plain(22));
    const snapshot = await state.finish({
      name: "moment",
      vmStateBytes: 1501 * CLUSTER - 5,
      vmClockNanoseconds: 12n,
      dateSeconds: 1000,
      dateNanoseconds: 7,
    });
    const disk = await readAll(device);
    await device.write(0, new Uint8Array(3 * MIB).fill(9));
    return { device, snapshot, disk };
  }

  function check(file: MemoryFile): void {
    bench.put(file.name, file.toBytes());
    bench.check(file.name);
  }

  test.each(["zlib", "zstd"] as const)("has the disk and state of the snapshot (%s)", async (compression) => {
    const { device, disk } = await makeSource({ compression });
    const file = await overlay("to.qcow2", { compression });
    const to = await open(file);
    const told: number[] = [];
    const guest = (async () => {
      for (let i = 0; i < 40; i++) await device.write(i * 100_000, new Uint8Array(50_000).fill(i));
      await device.flush();
    })();
    const copied = await copySnapshot(device, "moment", to, {
      onProgress: (fraction) => told.push(fraction),
    });
    await guest;
    expect(copied).toMatchObject({
      name: "moment",
      dateSeconds: 1000,
      dateNanoseconds: 7,
      vmClockNanoseconds: 12n,
      vmStateBytes: 1501 * CLUSTER - 5,
    });
    expect(told.at(-1)).toBe(1);
    expect(told).toEqual([...told].sort((a, b) => a - b));
    expect(Buffer.compare(await readAll(to), disk)).toBe(0);
    const state = await to.openState("moment");
    for (const [index, value] of [
      [0, 20],
      [1, 21],
      [2, 0],
      [1500, 22],
    ] as const) {
      const bytes = plain(255);
      await state.read(index * CLUSTER, bytes);
      expect(bytes).toEqual(plain(value));
    }
    // As they were stored: zeros take nothing, what was compressed is.
    expect(await to.blockStatus(2 * CLUSTER, SIZE - 2 * CLUSTER)).toMatchObject({
      zero: true,
      data: false,
    });
    expect(await to.blockStatus(10 * CLUSTER, CLUSTER)).toMatchObject({ compressed: true });
    expect(await to.blockStatus(6 * CLUSTER, CLUSTER)).toMatchObject({ allocated: false });
    expect(await state.readPacked(1)).toBeDefined();
    check(file);
    expect(Buffer.compare(bench.guestBytes("to.qcow2", ["-l", "moment"]), disk)).toBe(0);
  });

  test("a copy of a copy takes no more room", async () => {
    const { device } = await makeSource();
    let from = device;
    const sizes: number[] = [];
    for (let i = 0; i < 4; i++) {
      const file = await overlay(`copy-${i}.qcow2`);
      const to = await open(file);
      await copySnapshot(from, "moment", to);
      const packed = await (await to.openState("moment")).readPacked(1);
      sizes.push(packed?.length ?? 0);
      from = to;
    }
    expect(new Set(sizes.slice(1)).size).toBe(1);
  });

  test("into another compression type, it is plain", async () => {
    const { device, disk } = await makeSource({ compression: "zstd" });
    const to = await open(await overlay("to.qcow2"));
    await copySnapshot(device, "moment", to);
    expect(Buffer.compare(await readAll(to), disk)).toBe(0);
    const bytes = plain(0);
    await (await to.openState("moment")).read(CLUSTER, bytes);
    expect(bytes).toEqual(plain(21));
  });

  test("the disk can be left empty", async () => {
    const { device, disk } = await makeSource();
    const file = await overlay("to.qcow2");
    const to = await open(file);
    await copySnapshot(device, "moment", to, { applied: false });
    expect(Buffer.compare(await readAll(to), base)).toBe(0);
    check(file);
    expect(Buffer.compare(bench.guestBytes("to.qcow2", ["-l", "moment"]), disk)).toBe(0);
  });

  test("without a state, and the disk alone", async () => {
    const { device } = await makeSource();
    const now = await readAll(device);
    await device.createSnapshot({ name: "plain", dateSeconds: 5 });
    const file = await overlay("to.qcow2");
    const to = await open(file);
    expect(await copySnapshot(device, "plain", to)).toMatchObject({
      name: "plain",
      dateSeconds: 5,
      vmStateBytes: 0,
    });
    check(file);
    const diskFile = await overlay("disk.qcow2");
    const disk = await open(diskFile);
    await copyDisk(device, disk);
    expect(disk.snapshots).toEqual([]);
    expect(Buffer.compare(await readAll(disk), now)).toBe(0);
    check(diskFile);
  });

  test("ends when it is cancelled, when the snapshot goes, and where images do not fit", async () => {
    const { device } = await makeSource();
    const cancel = new AbortController();
    const file = await overlay("to.qcow2");
    const to = await open(file);
    const onProgress = (fraction: number) => {
      if (fraction > 0.5) cancel.abort();
    };
    await expect(
      copySnapshot(device, "moment", to, { onProgress, signal: cancel.signal }),
    ).rejects.toMatchObject({ code: "CANCELLED" });
    expect(to.snapshots).toEqual([]);
    check(file);
    const second = await open(await overlay("to.qcow2"));
    let deleting: Promise<void> | undefined;
    await expect(
      copySnapshot(device, "moment", second, {
        onProgress: () => {
          deleting ??= device.deleteSnapshot("moment");
        },
      }),
    ).rejects.toMatchObject({ code: "SNAPSHOT_NOT_FOUND" });
    await deleting;
    const small = createMemoryFile();
    await createQcow2(small, { sizeBytes: MIB });
    await device.createSnapshot({ name: "again" });
    await expect(copySnapshot(device, "again", await openQcow2(small))).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
    });
  });
});
