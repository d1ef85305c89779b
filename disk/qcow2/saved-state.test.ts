import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { createMemoryFile } from "../files/memory-file.ts";
import { type ColdFile, createColdFile } from "../testing/cold-file.ts";
import { Bench, hasQemu, qemuImg, qemuIo } from "../testing/qemu.ts";
import { createQcow2 } from "./create.ts";
import { openQcow2 } from "./open.ts";
import type { Qcow2Device } from "./qcow2-device.ts";
import { UNFINISHED_SNAPSHOT } from "./saved-state.ts";

const KIB = 1024;
const MIB = 1024 * KIB;
const CLUSTER = 64 * KIB;

describe.skipIf(!hasQemu)("VM state written into a snapshot while the guest goes on", () => {
  let bench: Bench;
  beforeEach(() => {
    bench = new Bench();
  });
  afterEach(() => bench.remove());

  async function make(
    version: 2 | 3,
    transactional: boolean,
  ): Promise<{ file: ColdFile; device: Qcow2Device }> {
    const made = createMemoryFile({ name: "disk.qcow2" });
    await createQcow2(made, { sizeBytes: 64 * MIB, version });
    const file = createColdFile(made.toBytes(), { transactional, capacityPieces: 200 });
    const device = await openQcow2(file);
    await device.write(0, new Uint8Array(MIB).fill(1));
    return { file, device };
  }

  function put(file: { toBytes(): Uint8Array }): string {
    const path = bench.put("disk.qcow2", file.toBytes());
    bench.check("disk.qcow2");
    return path;
  }

  const plain = (value: number) => new Uint8Array(CLUSTER).fill(value);

  test.each([
    [3, true],
    [3, false],
    [2, true],
  ] as const)(
    "is one with the disk as it was then (version %i, transactional: %s)",
    async (version, transactional) => {
      const { file, device } = await make(version, transactional);
      const state = await device.beginState({ maxStateBytes: 700 * MIB });
      // The guest goes on, and commits.
      await device.write(0, new Uint8Array(100 * KIB).fill(2));
      await device.flush();
      put(file);
      await state.writeCluster(0, plain(10));
      await state.writePacked(1, device.image.codec.compress(plain(11)) ?? plain(0));
      await state.writeZeros(2, 3);
      await state.writeCluster(8200, plain(12));
      await device.write(512 * KIB, new Uint8Array(10).fill(3));
      await device.flush();
      put(file);
      expect(device.snapshots.map(({ name }) => name)).toEqual([UNFINISHED_SNAPSHOT]);
      const finished = await state.finish({
        name: "ready",
        vmStateBytes: 8201 * CLUSTER,
        vmClockNanoseconds: 7n,
      });
      expect(finished).toMatchObject({ name: "ready", vmStateBytes: 8201 * CLUSTER });
      const path = put(file);
      expect(qemuImg("snapshot", "-l", path)).toMatch(/ready +513 MiB/);
      const then = bench.guestBytes("disk.qcow2", ["-l", "ready"]);
      expect([then[0], then[MIB - 1], then[MIB]]).toEqual([1, 1, 0]);

      const read = await device.openState("ready");
      const bytes = new Uint8Array(CLUSTER);
      for (const [index, value] of [
        [0, 10],
        [1, 11],
        [2, 0],
        [8200, 12],
        [100, 0],
      ] as const) {
        await read.read(index * CLUSTER, bytes);
        expect(
          bytes.every((byte) => byte === value),
          `cluster ${index}`,
        ).toBe(true);
      }
      expect(await read.run(2 * CLUSTER, 10 * CLUSTER)).toMatchObject({ stored: false });
      // QEMU finds it where it looks for VM state.
      qemuImg("snapshot", "-a", "ready", path);
      qemuIo(path, ["read -b -P 10 0 64k", "read -b -P 11 64k 64k", "read -b -P 12 537395200 64k"]);
      qemuImg("snapshot", "-d", "ready", path);
      bench.check("disk.qcow2");
    },
  );

  test("shares what has not changed with the state it descends from", async () => {
    const { file, device } = await make(3, true);
    const first = await device.beginState({ maxStateBytes: 20 * CLUSTER });
    for (let i = 0; i < 10; i++) await first.writeCluster(i, plain(i + 1));
    const packed = device.image.codec.compress(plain(99)) ?? plain(0);
    for (let i = 10; i < 20; i++) await first.writePacked(i, packed);
    const parent = await first.finish({ name: "first", vmStateBytes: 20 * CLUSTER });
    const before = file.sizeBytes;
    const second = await device.beginState({ maxStateBytes: 20 * CLUSTER });
    for (let i = 0; i < 20; i++) expect(await second.share(i, parent)).toBe(true);
    await second.writeCluster(3, plain(33));
    expect(await second.share(3, { ...parent, l1Entries: 0 })).toBe(true);
    await second.finish({ name: "second", vmStateBytes: 20 * CLUSTER });
    put(file);
    expect(file.sizeBytes - before).toBeLessThan(8 * CLUSTER);
    await device.deleteSnapshot("first");
    put(file);
    const read = await device.openState("second");
    const bytes = new Uint8Array(CLUSTER);
    for (const [index, value] of [
      [0, 1],
      [3, 4],
      [9, 10],
      [15, 99],
    ] as const) {
      await read.read(index * CLUSTER, bytes);
      expect(
        bytes.every((byte) => byte === value),
        `cluster ${index}`,
      ).toBe(true);
    }
    await device.deleteSnapshot("second");
    put(file);
  });

  test("cancelled, or left by a crash, goes without a trace", async () => {
    const { file, device } = await make(3, true);
    const state = await device.beginState({ maxStateBytes: 20 * CLUSTER });
    await state.writeCluster(0, plain(1));
    await state.cancel();
    await expect(state.writeCluster(1, plain(1))).rejects.toMatchObject({ code: "CLOSED" });
    expect(device.snapshots).toEqual([]);
    put(file);
    const left = await device.beginState({ maxStateBytes: 20 * CLUSTER });
    await left.writeCluster(0, plain(1));
    await device.flush();
    const again = createMemoryFile({ name: "disk.qcow2", content: file.toBytes() });
    const other = await openQcow2(again);
    expect(other.snapshots.map(({ name }) => name)).toEqual([UNFINISHED_SNAPSHOT]);
    await other.dropUnfinishedStates();
    expect(other.snapshots).toEqual([]);
    put(again);
  });

  test("does not reach past the room kept for it, and can be renamed", async () => {
    const { file, device } = await make(3, true);
    const state = await device.beginState({ maxStateBytes: CLUSTER });
    await expect(state.writeCluster(8192, plain(1))).rejects.toMatchObject({ code: "OUT_OF_RANGE" });
    await state.finish({ name: "one", vmStateBytes: CLUSTER });
    await device.renameSnapshot("one", "two");
    expect(qemuImg("snapshot", "-l", put(file))).toContain("two");
    await expect(device.renameSnapshot("two", "x".repeat(256))).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
    });
  });

  test("many at once, beside the guest's writes, stay whole", async () => {
    const { file, device } = await make(3, true);
    const state = await device.beginState({ maxStateBytes: 60 * CLUSTER });
    const guest = (async () => {
      for (let i = 0; i < 60; i++) await device.write(i * 30_000, new Uint8Array(20_000).fill(i + 1));
    })();
    const saves = Array.from({ length: 60 }, (_, i) => state.writeCluster(i, plain(i + 1)));
    const snapshot = device.createSnapshot({ name: "meanwhile" });
    await Promise.all([guest, snapshot, ...saves]);
    await state.finish({ name: "done", vmStateBytes: 60 * CLUSTER });
    put(file);
    await device.deleteSnapshot("meanwhile");
    await device.deleteSnapshot("done");
    put(file);
  });
});
