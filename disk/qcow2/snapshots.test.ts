import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { createMemoryFile, type MemoryFile } from "../files/memory-file.ts";
import { openDevice } from "../open-device.ts";
import { createColdFile } from "../testing/cold-file.ts";
import { Bench, hasQemu, qemuImg, qemuIo } from "../testing/qemu.ts";
import { createQcow2 } from "./create.ts";
import { openQcow2 } from "./open.ts";
import type { Qcow2Device } from "./qcow2-device.ts";

const MIB = 1024 * 1024;

const SHAPES = [
  { name: "the usual shape", clusterSizeBytes: 65536 },
  { name: "version 2", version: 2, clusterSizeBytes: 65536 },
  { name: "small clusters", clusterSizeBytes: 512 },
  { name: "wide refcounts", clusterSizeBytes: 4096, refcountBits: 64 },
  { name: "refcounts of 2 bits", clusterSizeBytes: 4096, refcountBits: 2 },
  { name: "subclusters", clusterSizeBytes: 65536, extendedL2: true },
  { name: "zstd", clusterSizeBytes: 65536, compression: "zstd" },
] as const;

describe.skipIf(!hasQemu)("internal snapshots", () => {
  let bench: Bench;
  beforeEach(() => {
    bench = new Bench();
  });
  afterEach(() => bench.remove());

  async function create(options: object, sizeBytes = 4 * MIB): Promise<MemoryFile> {
    const file = createMemoryFile({ name: "disk.qcow2" });
    await createQcow2(file, { sizeBytes, ...options });
    return file;
  }

  async function fill(device: Qcow2Device, offset: number, length: number, value: number): Promise<void> {
    await device.write(offset, new Uint8Array(length).fill(value));
  }

  async function bytesOf(device: { sizeBytes: number; read: Qcow2Device["read"] }): Promise<Uint8Array> {
    const bytes = new Uint8Array(device.sizeBytes);
    await device.read(0, bytes);
    return bytes;
  }

  function put(file: { toBytes(): Uint8Array }): void {
    bench.put("disk.qcow2", file.toBytes());
    bench.check("disk.qcow2");
  }

  describe.each(SHAPES)("of $name", (shape) => {
    test.each([true, false])("are what QEMU takes for its own (transactional: %s)", async (transactional) => {
      const made = await create(shape);
      const file = createColdFile(made.toBytes(), { transactional });
      const device = await openQcow2(file);
      await fill(device, 0, 700_000, 1);
      await device.writeCompressed(1 * MIB, new Uint8Array(shape.clusterSizeBytes).fill(5));
      const first = await bytesOf(device);
      await device.createSnapshot({
        name: "first",
        dateSeconds: 1_700_000_000,
        vmClockNanoseconds: 5_000_000_000n,
      });
      put(file);
      await fill(device, 100_000, 300_000, 2);
      await device.writeZeroes(500_000, 100_000, { unmap: true });
      await fill(device, 1 * MIB + 100, 10, 6);
      const second = await bytesOf(device);
      await device.createSnapshot({ name: "second" });
      put(file);
      await device.discard(0, 2 * MIB);
      await fill(device, 3 * MIB, 5000, 3);
      await device.flush();
      put(file);
      const last = await bytesOf(device);

      expect(Buffer.compare(bench.guestBytes("disk.qcow2"), last)).toBe(0);
      expect(Buffer.compare(bench.guestBytes("disk.qcow2", ["-l", "first"]), first)).toBe(0);
      expect(Buffer.compare(bench.guestBytes("disk.qcow2", ["-l", "second"]), second)).toBe(0);
      expect(qemuImg("snapshot", "-l", bench.path("disk.qcow2"))).toMatch(
        /1 +first +0 B 2023-11-14 .*00:00:05/,
      );
      const view = await device.openSnapshot("first");
      expect(Buffer.compare(await bytesOf(view), first)).toBe(0);

      await device.applySnapshot("first");
      put(file);
      expect(Buffer.compare(await bytesOf(device), first)).toBe(0);
      expect(Buffer.compare(bench.guestBytes("disk.qcow2"), first)).toBe(0);
      await fill(device, 0, 10, 9);
      await device.deleteSnapshot("first");
      put(file);
      await device.applySnapshot("2");
      await device.deleteSnapshot("second");
      put(file);
      expect(device.snapshots).toEqual([]);
      expect(Buffer.compare(bench.guestBytes("disk.qcow2"), second)).toBe(0);
      await fill(device, 0, 4 * MIB, 8);
      await device.flush();
      put(file);
    });

    test("of QEMU's are read, applied and deleted here", async () => {
      put(await create(shape));
      const path = bench.path("disk.qcow2");
      qemuIo(path, ["write -P 1 0 600k"]);
      qemuImg("snapshot", "-c", "one", path);
      qemuIo(path, ["write -P 2 100k 1000k"]);
      qemuImg("snapshot", "-c", "two", path);
      qemuIo(path, ["write -P 3 3M 64k"]);
      const one = bench.guestBytes("disk.qcow2", ["-l", "one"]);
      const two = bench.guestBytes("disk.qcow2", ["-l", "two"]);
      const file = createMemoryFile({ name: "disk.qcow2", content: bench.bytes("disk.qcow2") });
      const device = await openQcow2(file);
      expect(device.snapshots.map(({ id, name, diskBytes }) => [id, name, diskBytes])).toEqual([
        ["1", "one", 4 * MIB],
        ["2", "two", 4 * MIB],
      ]);
      const view = await openDevice(
        createMemoryFile({ content: bench.bytes("disk.qcow2"), writable: false }),
        { snapshot: "two" },
      );
      expect(Buffer.compare(await bytesOf(view), two)).toBe(0);
      await device.applySnapshot("one");
      put(file);
      expect(Buffer.compare(await bytesOf(device), one)).toBe(0);
      await device.deleteSnapshot("one");
      put(file);
      expect(Buffer.compare(bench.guestBytes("disk.qcow2", ["-l", "two"]), two)).toBe(0);
      expect(Buffer.compare(bench.guestBytes("disk.qcow2"), one)).toBe(0);
    });
  });

  test("bring back the size the disk had", async () => {
    const file = await create({});
    const device = await openQcow2(file);
    await fill(device, 0, MIB, 1);
    await device.createSnapshot({ name: "small" });
    await device.resize(700 * MIB);
    await fill(device, 600 * MIB, 1000, 2);
    await device.createSnapshot({ name: "large" });
    await device.applySnapshot("small");
    expect(device.sizeBytes).toBe(4 * MIB);
    put(file);
    await device.applySnapshot("large");
    expect(device.sizeBytes).toBe(700 * MIB);
    put(file);
    const read = new Uint8Array(1000);
    await device.read(600 * MIB, read);
    expect(read.every((byte) => byte === 2)).toBe(true);
  });

  test("with extra data that is not known keep it", async () => {
    const file = await create({});
    const device = await openQcow2(file);
    await device.createSnapshot({ name: "one" });
    await device.flush();
    // As a later version might: 8 bytes more, after what is known.
    const bytes = new Uint8Array(Math.ceil(file.sizeBytes / 65536) * 65536);
    bytes.set(file.toBytes());
    const view = new DataView(bytes.buffer);
    const at = Number(view.getBigUint64(64));
    const tail = bytes.slice(at + 64, at + 80);
    view.setUint32(at + 36, 32);
    bytes.set([1, 2, 3, 4, 5, 6, 7, 8], at + 64);
    bytes.set(tail, at + 72);
    const again = createMemoryFile({ name: "disk.qcow2", content: bytes });
    const other = await openQcow2(again);
    await other.createSnapshot({ name: "two" });
    expect(other.snapshots.map(({ name }) => name)).toEqual(["one", "two"]);
    await other.flush();
    put(again);
    const reopened = await openQcow2(createMemoryFile({ content: again.toBytes() }));
    expect([...(reopened.snapshots[0]?.extraData.subarray(24) ?? [])]).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
  });

  test("are refused where refcounts have 1 bit, and where there is no such snapshot", async () => {
    const device = await openQcow2(await create({ refcountBits: 1, clusterSizeBytes: 4096 }));
    await expect(device.createSnapshot({ name: "x" })).rejects.toMatchObject({ code: "UNSUPPORTED_FEATURE" });
    await expect(device.applySnapshot("x")).rejects.toMatchObject({ code: "SNAPSHOT_NOT_FOUND" });
    await expect(device.deleteSnapshot("x")).rejects.toMatchObject({ code: "SNAPSHOT_NOT_FOUND" });
  });

  test("past what refcounts hold are refused, and nothing has changed", async () => {
    const file = await create({ refcountBits: 2, clusterSizeBytes: 4096 });
    const device = await openQcow2(file);
    await fill(device, 0, 10_000, 1);
    await device.createSnapshot({ name: "1" });
    await device.createSnapshot({ name: "2" });
    const before = file.toBytes();
    await expect(device.createSnapshot({ name: "3" })).rejects.toMatchObject({ code: "UNSUPPORTED_FEATURE" });
    expect(Buffer.compare(file.toBytes(), before)).toBe(0);
    await fill(device, 0, 10, 2);
    put(file);
  });

  test("made while the guest writes hold whole writes", async () => {
    const file = await create({ clusterSizeBytes: 4096 });
    const device = await openQcow2(file);
    await fill(device, 0, 2 * MIB, 1);
    const busy = (async () => {
      for (let i = 0; i < 200; i++) await fill(device, (i * 37_000) % (3 * MIB), 20_000, 2 + (i % 100));
    })();
    await device.createSnapshot({ name: "a" });
    await device.createSnapshot({ name: "b" });
    await busy;
    await device.deleteSnapshot("a");
    await device.flush();
    put(file);
  });
});
