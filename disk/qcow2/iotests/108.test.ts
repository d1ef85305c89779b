import { statSync, truncateSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { ourCheck } from "../../testing/check-differ.ts";
import { DamageBench, NewImage } from "../../testing/damage-bench.ts";
import { hasQemu, qemuIo } from "../../testing/qemu.ts";

/*
 * After QEMU's iotest 108: refcount structures that are lost, or blocks where none can be. New ones are made
 * where there is room, and nothing that is used is written over.
 */

describe.skipIf(!hasQemu)("lost refcount structures", () => {
  let bench: DamageBench;
  beforeEach(() => {
    bench = new DamageBench();
  });
  afterEach(() => bench.remove());

  test("no refcount table at all: a new one is made and the data stays", async () => {
    bench.create("64M");
    qemuIo(bench.image, ["write -P 42 0 64k"]);
    bench.poke(48, 0n);
    bench.poke(56, [0, 0, 0, 0]);
    await bench.expectSameRepair("all");
    qemuIo(bench.image, ["read -P 42 0 64k"]);
  });

  test("a used cluster that no block counts is not written over by the new block", async () => {
    bench.create("64M", "cluster_size=512");
    qemuIo(bench.image, ["write 0 0x1b200"]);
    bench.poke(0x1ccc8, (1n << 63n) | 0x20000n);
    bench.poke(0x20000, new Array<number>(512).fill(42));
    qemuIo(bench.image, ["read -P 42 0x1b200 512"]);
    await bench.expectSameRepair("all");
    qemuIo(bench.image, ["read -P 42 0x1b200 512"]);
  });

  describe("a refcount block past the end of the file", () => {
    test.each([
      ["counted itself", 0x100000n, true],
      ["not counted", 0x100000n, false],
      ["where a signed offset overflows", 0x7fffffffffff0000n, false],
      ["where an unsigned offset overflows", 0xffffffffffff0000n, false],
    ])("%s is dropped, and counted as QEMU counts it", async (_, offset, counted) => {
      bench.create("64M");
      bench.poke(NewImage.REFCOUNT_TABLE + 8, offset);
      if (counted) bench.poke(NewImage.REFCOUNT_BLOCK + 0x20, 1);
      await bench.expectSameCheck();
      // QEMU lets the file grow to the block instead, which then is its end.
      await bench.expectSameRepair("all", ["end", "lines"]);
      bench.check("image.qcow2");
    });
  });

  test("new structures take free space inside the file before they make it longer", async () => {
    bench.create("1M", "cluster_size=512");
    qemuIo(bench.image, ["write 0 64k"]);
    truncateSync(bench.image, statSync(bench.image).size + 256 * 1024);
    bench.poke(bench.peek64(bench.peek64(48)), 0);
    const before = statSync(bench.image).size;
    await bench.expectSameRepair("all");
    expect(statSync(bench.image).size).toBe(before);
  });

  test("a table of two clusters goes into a gap that holds it, as QEMU's does", async () => {
    bench.create("9M", "cluster_size=512");
    qemuIo(bench.image, ["write 0 8M", "write 8M 1M", "discard 0 512", "discard 4k 1k"]);
    bench.poke(bench.peek64(bench.peek64(48)), 0);
    const copy = bench.bytes("image.qcow2");
    await bench.expectSameRepair("all");
    const ours = bench.peek64(48);
    bench.put("image.qcow2", bench.bytes("theirs.qcow2"));
    expect(ours).toBe(bench.peek64(48));
    bench.put("image.qcow2", copy);
    expect((await ourCheck(bench.image, "all")).exitCode).toBe(0);
  });
});
