import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { openNodeFile } from "../../files/node-file.ts";
import { ourCheck, qemuCheck } from "../../testing/check-differ.ts";
import { DamageBench, NewImage } from "../../testing/damage-bench.ts";
import { hasQemu, qemuImg, qemuIo } from "../../testing/qemu.ts";
import { openQcow2 } from "../open.ts";

/*
 * After QEMU's iotest 060: structures that lie over each other. What a check finds and repairs is held
 * against qemu-img on the same image; a write that would go over metadata must stop, mark the image corrupt
 * and leave the metadata alone.
 */

const COPIED = 1n << 63n;

describe.skipIf(!hasQemu)("structures over each other", () => {
  let bench: DamageBench;
  beforeEach(() => {
    bench = new DamageBench();
  });
  afterEach(() => bench.remove());

  /** Writes the guest's first sector; the error it met. */
  async function failedWrite(offsetBytes = 0): Promise<unknown> {
    const device = await openQcow2(await openNodeFile(bench.image, { writable: true }));
    const error = await device.write(offsetBytes, new Uint8Array(512).fill(0x2a)).then(
      () => device.flush().then(() => undefined),
      (reason: unknown) => reason,
    );
    await device.close().catch(() => {});
    return error;
  }

  describe("an L2 table over the active L1 table", () => {
    beforeEach(() => {
      bench.create("64M");
      bench.poke(NewImage.L1, COPIED | BigInt(NewImage.L1));
      // A new image ends inside the cluster of its L1 table, which is cut short as an L2 table then.
      bench.poke(NewImage.L1 + 65528, 0n);
    });

    test("is found, and not repaired over the L1 table", async () => {
      await bench.expectSameCheck();
      expect(bench.features).toBe(0);
    });

    test("stops a write, marks the image corrupt, and lets it be read", async () => {
      const before = bench.peek64(NewImage.L1);
      expect(await failedWrite()).toMatchObject({ code: "CORRUPT" });
      expect(bench.features).toBe(2);
      expect(bench.peek64(NewImage.L1)).toBe(before);
      await expect(
        openNodeFile(bench.image, { writable: true }).then((file) => openQcow2(file)),
      ).rejects.toMatchObject({ code: "MARKED_CORRUPT" });
      const device = await openQcow2(await openNodeFile(bench.image));
      await device.read(0, new Uint8Array(512));
      await device.close();
    });
  });

  describe("a data cluster over a refcount block", () => {
    beforeEach(() => {
      bench.create("64M");
      bench.poke(NewImage.L2, COPIED | BigInt(NewImage.REFCOUNT_BLOCK));
      bench.poke(NewImage.L2 + 65528, 0n);
      bench.poke(NewImage.L1, COPIED | BigInt(NewImage.L2));
      bench.poke(NewImage.REFCOUNT_BLOCK + 8, 1);
    });

    test("is found, stops a write, and is repaired with new refcounts", async () => {
      await bench.expectSameCheck();
      expect(await failedWrite()).toMatchObject({ code: "CORRUPT" });
      expect(bench.features).toBe(2);
      await bench.expectSameRepair("all");
      expect(bench.features).toBe(0);
      expect(await failedWrite()).toBeUndefined();
      bench.check("image.qcow2");
    });
  });

  describe("a data cluster over an inactive L2 table", () => {
    test("is found and repaired; the snapshot keeps its data", async () => {
      bench.create("64M");
      qemuIo(bench.image, ["write -P 1 0 512"]);
      qemuImg("snapshot", "-c", "foo", bench.image);
      qemuIo(bench.image, ["write -P 2 0 512"]);
      bench.poke(0x80000, COPIED | BigInt(NewImage.L2));
      await bench.expectSameCheck();
      await bench.expectSameRepair("all");
      expect(await failedWrite()).toBeUndefined();
      qemuIo(bench.image, ["read -P 0x2a 0 512"]);
      qemuImg("snapshot", "-a", "foo", bench.image);
      bench.check("image.qcow2");
      qemuIo(bench.image, ["read -P 1 0 512"]);
    });
  });

  test.each([
    ["an image header that counts as free", (b: DamageBench) => b.poke(NewImage.REFCOUNT_BLOCK, 0)],
    ["an empty refcount table", (b: DamageBench) => b.poke(NewImage.REFCOUNT_TABLE, 0n)],
    ["an empty refcount block", (b: DamageBench) => b.poke(NewImage.REFCOUNT_BLOCK, 0n)],
    ["an unaligned L1 entry", (b: DamageBench) => b.poke(NewImage.L1, COPIED | 0x42a00n)],
    ["an unaligned refcount table entry", (b: DamageBench) => b.poke(NewImage.REFCOUNT_TABLE, 0x22a00n)],
  ])("%s: a write stops before it changes metadata", async (_, damage) => {
    bench.create("64M");
    qemuIo(bench.image, ["write 0 64k"]);
    damage(bench);
    const tables = () =>
      Buffer.from(bench.bytes("image.qcow2").slice(NewImage.REFCOUNT_TABLE, NewImage.DATA));
    const before = tables();
    expect(await failedWrite(1024 * 1024)).toMatchObject({ code: "CORRUPT" });
    expect(tables().equals(before)).toBe(true);
  });

  test("an unaligned L2 entry fails the read, and no more than that", async () => {
    bench.create("64M");
    qemuIo(bench.image, ["write 0 128k"]);
    bench.poke(NewImage.L2, COPIED | 0x52a00n);
    const device = await openQcow2(await openNodeFile(bench.image));
    await expect(device.read(0, new Uint8Array(512))).rejects.toMatchObject({ code: "CORRUPT" });
    await device.read(65536, new Uint8Array(512));
    await device.close();
  });

  test.each([
    ["an empty refcount table", (b: DamageBench) => b.poke(NewImage.REFCOUNT_TABLE, 0n)],
    ["an empty refcount block", (b: DamageBench) => b.poke(NewImage.REFCOUNT_BLOCK, 0n)],
    ["a refcount table of no clusters", (b: DamageBench) => b.poke(56, [0, 0, 0, 0])],
    ["an unaligned preallocated zero cluster", (b: DamageBench) => b.poke(NewImage.L2, COPIED | 0x2a01n)],
  ])("%s is repaired as by QEMU", async (_, damage) => {
    bench.create("64M");
    qemuIo(bench.image, ["write 0 64k", "write 1M 64k"]);
    damage(bench);
    await bench.expectSameCheck();
    await bench.expectSameRepair("all");
    expect(await failedWrite(2 * 1024 * 1024)).toBeUndefined();
    bench.check("image.qcow2");
  });

  test("a dirty image with an unaligned refcount block is repaired when it is opened", async () => {
    bench.create("64M");
    bench.poke(NewImage.REFCOUNT_TABLE, 0xffff2a00n);
    bench.poke(72, 1n);
    const device = await openQcow2(await openNodeFile(bench.image, { writable: true }));
    await device.close();
    expect(bench.features).toBe(0);
    bench.check("image.qcow2");
  });

  test("an unaligned refcount block is repaired in one run, where QEMU needs two", async () => {
    bench.create("64M");
    qemuIo(bench.image, ["write 0 128k"]);
    bench.poke(NewImage.REFCOUNT_TABLE, 0x2a00n);
    await bench.expectSameCheck();
    expect((await ourCheck(bench.image, "all")).exitCode).toBe(0);
    bench.check("image.qcow2");
  });

  test("refcount blocks far outside, and one that nothing counts, are repaired", async () => {
    bench.create("64M", "refcount_bits=1");
    bench.poke(NewImage.REFCOUNT_TABLE + 8, 0x1000000000n);
    bench.poke(NewImage.REFCOUNT_TABLE + 16, 0x200n);
    const before = bench.bytes("image.qcow2").length;
    expect((await ourCheck(bench.image)).exitCode).toBe(qemuCheck(bench.image).exitCode);
    expect((await ourCheck(bench.image, "all")).exitCode).toBe(0);
    bench.check("image.qcow2");
    // QEMU makes it a file of 64 GiB.
    expect(bench.bytes("image.qcow2").length).toBeLessThan(before + 1024 * 1024);
  });
});
