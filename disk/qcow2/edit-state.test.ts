import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { createMemoryFile } from "../files/memory-file.ts";
import { type ColdFile, createColdFile } from "../testing/cold-file.ts";
import { Bench, hasQemu, qemuImg } from "../testing/qemu.ts";
import { createQcow2 } from "./create.ts";
import { openQcow2 } from "./open.ts";
import type { Qcow2Device } from "./qcow2-device.ts";
import { readRefcount } from "./refcount-entry.ts";
import type { Qcow2Snapshot } from "./snapshot-table.ts";

const CLUSTER = 64 * 1024;
const MIB = 1024 * 1024;

const plain = (value: number) => new Uint8Array(CLUSTER).fill(value);

async function firstBytes(device: Qcow2Device, idOrName: string, clusters: number): Promise<number[]> {
  const reader = await device.openState(idOrName);
  const bytes = new Uint8Array(CLUSTER);
  const found: number[] = [];
  for (let index = 0; index < clusters; index++) {
    await reader.read(index * CLUSTER, bytes);
    expect(bytes.every((byte) => byte === bytes[0])).toBe(true);
    found.push(bytes[0] ?? -1);
  }
  return found;
}

describe.skipIf(!hasQemu)("saved states that are replaced, edited and measured", () => {
  let bench: Bench;
  beforeEach(() => {
    bench = new Bench();
  });
  afterEach(() => bench.remove());

  async function make(transactional: boolean): Promise<{ file: ColdFile; device: Qcow2Device }> {
    const made = createMemoryFile({ name: "disk.qcow2" });
    await createQcow2(made, { sizeBytes: 64 * MIB });
    const file = createColdFile(made.toBytes(), { transactional, capacityPieces: 200 });
    const device = await openQcow2(file);
    await device.write(0, new Uint8Array(MIB).fill(1));
    return { file, device };
  }

  function check(file: ColdFile): string {
    const path = bench.put("disk.qcow2", file.toBytes());
    bench.check("disk.qcow2");
    return path;
  }

  async function save(
    device: Qcow2Device,
    name: string,
    values: readonly number[],
    replaces: readonly string[] = [],
  ): Promise<Qcow2Snapshot> {
    const state = await device.beginState({ maxStateBytes: values.length * CLUSTER });
    for (const [index, value] of values.entries())
      if (index % 2 === 0) await state.writeCluster(index, plain(value));
      else await state.writePacked(index, device.image.codec.compress(plain(value)) ?? plain(0));
    return state.finish({ name, vmStateBytes: values.length * CLUSTER, replaces });
  }

  test.each([true, false])(
    "one takes the place of others in the change that names it (transactional: %s)",
    async (transactional) => {
      const { file, device } = await make(transactional);
      const first = await save(device, "autosave", [1, 2, 3]);
      const other = await save(device, "other", [4]);
      await device.write(0, new Uint8Array(200_000).fill(9));
      const second = await save(device, "autosave", [5, 6, 7], [first.id, other.id, "no such id"]);
      expect(device.snapshots.map(({ id, name }) => [id, name])).toEqual([[second.id, "autosave"]]);
      expect(await firstBytes(device, "autosave", 3)).toEqual([5, 6, 7]);
      const path = check(file);
      expect(qemuImg("snapshot", "-l", path)).toMatch(/autosave/);
      expect(bench.guestBytes("disk.qcow2", ["-l", "autosave"])[0]).toBe(9);
      await device.deleteSnapshot("autosave");
      check(file);
    },
  );

  test.each([true, false])(
    "single clusters are written anew, and the rest stays (transactional: %s)",
    async (transactional) => {
      const { file, device } = await make(transactional);
      const saved = await save(device, "before", [1, 2, 3, 4]);
      const sharer = await device.beginState({ maxStateBytes: 4 * CLUSTER });
      for (let i = 0; i < 4; i++) expect(await sharer.share(i, saved)).toBe(true);
      await sharer.finish({ name: "sharer", vmStateBytes: 4 * CLUSTER });
      await device.write(0, new Uint8Array(MIB).fill(2));

      const old = await device.openState("before");
      const edit = await device.editState("before");
      await edit.writeCluster(0, plain(100));
      await edit.writePacked(3, device.image.codec.compress(plain(101)) ?? plain(0));
      expect(await firstBytes(device, "before", 4)).toEqual([1, 2, 3, 4]);
      await device.flush();
      check(file);
      const edited = await edit.finish({ name: "after", vmStateBytes: 4 * CLUSTER });
      expect(edited).toMatchObject({ id: saved.id, name: "after", dateSeconds: saved.dateSeconds });
      expect(device.snapshots.map(({ id, name }) => [id, name])).toEqual([
        [saved.id, "after"],
        [String(Number(saved.id) + 1), "sharer"],
      ]);
      expect(await firstBytes(device, "after", 4)).toEqual([100, 2, 3, 101]);
      expect(await firstBytes(device, "sharer", 4)).toEqual([1, 2, 3, 4]);
      check(file);
      expect(bench.guestBytes("disk.qcow2", ["-l", "after"])[0]).toBe(1);
      await expect(old.read(0, plain(0))).rejects.toMatchObject({ code: "SNAPSHOT_NOT_FOUND" });

      const again = await device.editState(saved.id);
      await again.writeCluster(0, plain(200));
      await again.cancel();
      expect(await firstBytes(device, "after", 1)).toEqual([100]);
      await device.deleteSnapshots(["sharer", "after"]);
      expect(device.snapshots).toEqual([]);
      check(file);
      expect((await openQcow2(file)).snapshots).toEqual([]);
    },
  );

  test("an edit of the state that the disk was put back to leaves the disk alone", async () => {
    const { file, device } = await make(true);
    await save(device, "state", [1, 2]);
    await device.applySnapshot("state");
    const edit = await device.editState("state");
    await edit.writeCluster(0, plain(50));
    await edit.finish({ name: "state", vmStateBytes: 2 * CLUSTER });
    const bytes = plain(0);
    await device.readVmState(0, bytes);
    expect(bytes[0]).toBe(1);
    expect(await firstBytes(device, "state", 2)).toEqual([50, 2]);
    check(file);
    await device.dropVmState(2 * CLUSTER);
    await device.write(0, new Uint8Array(MIB).fill(7));
    check(file);
  });

  test("several are deleted together, or none", async () => {
    const { file, device } = await make(true);
    const a = await save(device, "a", [1]);
    await save(device, "b", [2]);
    await expect(device.deleteSnapshots([a.id, "c"])).rejects.toMatchObject({ code: "SNAPSHOT_NOT_FOUND" });
    expect(device.snapshots).toHaveLength(2);
    await device.deleteSnapshots([a.id, "a", "b"]);
    expect(device.snapshots).toEqual([]);
    check(file);
  });

  test("compressed clusters are read as they are packed", async () => {
    const { device } = await make(true);
    await save(device, "state", [1, 2, 0]);
    const reader = await device.openState("state");
    expect(await reader.readPacked(0)).toBeUndefined();
    const packed = await reader.readPacked(1);
    if (!packed) throw new Error("cluster 1 is not packed");
    expect(device.image.codec.decompress(packed, CLUSTER)).toEqual(plain(2));
    expect(await reader.readPacked(7)).toBeUndefined();
    const all = await Promise.all([0, 1, 2].map((index) => reader.readPacked(index)));
    expect(all.map((each) => each !== undefined)).toEqual([false, true, false]);
  });

  test("usage tells what is freed with a snapshot from what is shared", async () => {
    const { file, device } = await make(true);
    const first = await save(device, "first", [1, 2, 3, 4, 5, 6]);
    // Its L1 table, the disk's L2 table with 16 clusters shared; the state's L2 table, three plain clusters, one of packed ones.
    expect(await device.snapshotUsage("first")).toEqual({
      ownBytes: 6 * CLUSTER,
      sharedBytes: 17 * CLUSTER,
      stateOwnBytes: 5 * CLUSTER,
      stateSharedBytes: 0,
    });
    const second = await device.beginState({ maxStateBytes: 6 * CLUSTER });
    for (let i = 0; i < 5; i++) await second.share(i, first);
    await second.writeCluster(5, plain(60));
    await second.finish({ name: "second", vmStateBytes: 6 * CLUSTER });
    await device.write(0, new Uint8Array(MIB).fill(2));
    const usage = await device.snapshotUsage("second");
    expect(usage).toMatchObject({ stateOwnBytes: 2 * CLUSTER, stateSharedBytes: 4 * CLUSTER });

    const before = countUsed(device);
    await device.deleteSnapshot("second");
    // The snapshot table keeps its one cluster.
    expect(before - countUsed(device)).toBe(usage.ownBytes / CLUSTER);
    check(file);
    await expect(device.snapshotUsage("second")).rejects.toMatchObject({ code: "SNAPSHOT_NOT_FOUND" });
  });

  test("states are written, and go, while tables move around them", async () => {
    const { file, device } = await make(true);
    const kept = await save(device, "kept", [1, 2]);
    const state = await device.beginState({ maxStateBytes: 40 * CLUSTER });
    for (let i = 0; i < 20; i++) {
      await state.writePacked(2 * i, device.image.codec.compress(plain(i + 1)) ?? plain(0));
      // Each moves the snapshot table, and frees where it was.
      await device.renameSnapshot("kept", "kept");
      await state.writeCluster(2 * i + 1, plain(100 + i));
    }
    await device.deleteSnapshot("kept");
    expect(await state.share(0, kept)).toBe(false);
    await state.finish({ name: "state", vmStateBytes: 40 * CLUSTER });
    const expected = Array.from({ length: 40 }, (_, i) => (i % 2 === 0 ? i / 2 + 1 : 100 + (i - 1) / 2));
    expect(await firstBytes(device, "state", 40)).toEqual(expected);
    check(file);
  });

  test("a packed cluster written twice leaves room that others may take", async () => {
    const { file, device } = await make(true);
    const state = await device.beginState({ maxStateBytes: 4 * CLUSTER });
    const packed = (value: number) => device.image.codec.compress(plain(value)) ?? plain(0);
    await state.writePacked(0, packed(1));
    await state.writeCluster(0, plain(2));
    // The cluster that was packed into is the guest's now.
    await device.write(8 * MIB, plain(77));
    await state.writePacked(1, packed(3));
    await state.finish({ name: "state", vmStateBytes: 2 * CLUSTER });
    const guest = plain(0);
    await device.read(8 * MIB, guest);
    expect(guest).toEqual(plain(77));
    check(file);
  });

  test("nothing is written after cancel, finish, or when it is dropped", async () => {
    const { file, device } = await make(true);
    const state = await device.beginState({ maxStateBytes: 4 * CLUSTER });
    await device.dropUnfinishedStates();
    await expect(state.writeCluster(0, plain(1))).rejects.toMatchObject({ code: "CLOSED" });
    await expect(state.finish({ name: "x", vmStateBytes: CLUSTER })).rejects.toMatchObject({
      code: "CLOSED",
    });
    await state.cancel();
    const early = await device.beginState({ maxStateBytes: 4 * CLUSTER });
    const cancelling = early.cancel();
    await expect(early.finish({ name: "no", vmStateBytes: CLUSTER })).rejects.toMatchObject({
      code: "CLOSED",
    });
    await cancelling;
    expect(device.snapshots).toEqual([]);

    // Too late: the finish is under way.
    const late = await device.beginState({ maxStateBytes: 4 * CLUSTER });
    const begun = new Promise<void>((resolve) => {
      const { flush } = file;
      file.flush = () => {
        resolve();
        return flush();
      };
    });
    const finishing = late.finish({ name: "done", vmStateBytes: CLUSTER });
    await begun;
    await late.cancel();
    await finishing;
    expect(device.snapshots.map(({ name }) => name)).toEqual(["done"]);
  });
});

/** Host clusters in use, by their refcounts. */
function countUsed({ image }: Qcow2Device): number {
  const bytes = (image.file as ColdFile).toBytes();
  let used = 0;
  for (let index = 0; index * CLUSTER < bytes.length; index++) {
    const { blockOffsetBytes, indexInBlock } = image.findRefcountBlock(index);
    const block = bytes.subarray(blockOffsetBytes, blockOffsetBytes + CLUSTER);
    if (readRefcount(block, indexInBlock, image.refcountOrder) > 0) used++;
  }
  return used;
}
