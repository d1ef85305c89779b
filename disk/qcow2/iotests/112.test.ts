import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { openNodeFile } from "../../files/node-file.ts";
import { DamageBench, NewImage } from "../../testing/damage-bench.ts";
import { hasQemu, qemuIo } from "../../testing/qemu.ts";
import { createQcow2 } from "../create.ts";
import { openQcow2 } from "../open.ts";

/*
 * After QEMU's iotest 112: refcounts of every width. Which widths there are, what happens at the largest
 * count, and what a check says of it. (Changing the width is the amend command's.)
 */

describe.skipIf(!hasQemu)("refcounts of every width", () => {
  let bench: DamageBench;
  beforeEach(() => {
    bench = new DamageBench();
  });
  afterEach(() => bench.remove());

  const open = async () => openQcow2(await openNodeFile(bench.image, { writable: true }));

  test.each([0, -1, 42, 128])("an image with %i bits is not made", async (refcountBits) => {
    const file = await openNodeFile(bench.image, { create: true });
    await expect(createQcow2(file, { sizeBytes: 2 ** 26, refcountBits })).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
    });
    await file.close();
  });

  test.each([1, 64])("version 2 has no counts of %i bits", async (refcountBits) => {
    const file = await openNodeFile(bench.image, { create: true });
    await expect(createQcow2(file, { sizeBytes: 2 ** 26, version: 2, refcountBits })).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
    });
    await file.close();
  });

  test.each([1, 2, 4, 8, 16, 32, 64])(
    "%i bits: data, leaks and errors are counted as by QEMU",
    async (bits) => {
      bench.create("64M", `refcount_bits=${bits}`);
      qemuIo(bench.image, ["write 0 64k", "write 8M 192k"]);
      await bench.expectSameCheck();
      bench.poke(NewImage.REFCOUNT_BLOCK + bits - 1, [
        bench.bytes("image.qcow2")[NewImage.REFCOUNT_BLOCK + bits - 1] ? 0 : 255,
      ]);
      await bench.expectSameCheck();
      await bench.expectSameRepair("all");
      bench.check("image.qcow2");
    },
  );

  test("1 bit: a snapshot is refused and changes nothing", async () => {
    bench.create("64M", "refcount_bits=1");
    qemuIo(bench.image, ["write 0 512"]);
    const device = await open();
    await expect(device.createSnapshot({ name: "foo" })).rejects.toThrow();
    await device.close();
    bench.check("image.qcow2");
  });

  test("2 bits: the third snapshot is refused, the first two stay", async () => {
    bench.create("64M", "refcount_bits=2");
    qemuIo(bench.image, ["write 0 512"]);
    const device = await open();
    await device.createSnapshot({ name: "foo" });
    await device.createSnapshot({ name: "bar" });
    await expect(device.createSnapshot({ name: "baz" })).rejects.toThrow();
    expect(device.snapshots.map(({ name }) => name)).toEqual(["foo", "bar"]);
    await device.close();
    bench.check("image.qcow2");
  });

  test("1 bit: two compressed clusters do not share a host cluster", async () => {
    bench.create("64M", "refcount_bits=1");
    qemuIo(bench.image, ["write -P 0 -c 0 64k", "write -P 1 -c 64k 64k"]);
    await bench.expectSameCheck();
    const device = await open();
    await device.writeCompressed(128 * 1024, new Uint8Array(65536).fill(2));
    await device.writeCompressed(192 * 1024, new Uint8Array(65536).fill(3));
    await device.close();
    await bench.expectSameCheck();
    qemuIo(bench.image, ["read -P 2 128k 64k", "read -P 3 192k 64k", "read -P 1 64k 64k"]);
  });

  test("64 bits: a count with its top bit set is a leak, and can be written beside", async () => {
    bench.create("64M", "refcount_bits=64");
    qemuIo(bench.image, ["write 0 512"]);
    bench.poke(NewImage.REFCOUNT_BLOCK + 0x28, 1n << 63n);
    bench.poke(NewImage.L2, BigInt(NewImage.DATA));
    const result = await bench.expectSameCheck();
    expect(result.lines).toContain("Leaked cluster 5 refcount=9223372036854775808 reference=1");
    await bench.expectSameRepair("leaks");
  });

  test("two references are too many for 1 bit, and repaired with 2", async () => {
    for (const bits of [1, 2]) {
      bench.create("64M", `refcount_bits=${bits}`);
      qemuIo(bench.image, ["write 0 64k"]);
      bench.poke(NewImage.L2 + 8, (1n << 63n) | BigInt(NewImage.DATA));
      await bench.expectSameCheck();
      const { exitCode } = await bench.expectSameRepair("all");
      expect(exitCode).toBe(bits === 1 ? 2 : 0);
    }
  });
});
