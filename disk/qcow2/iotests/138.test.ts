import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { DamageBench } from "../../testing/damage-bench.ts";
import { hasQemu, qemuIo } from "../../testing/qemu.ts";

/* After QEMU's iotest 138: what a check allocates for lies about offsets, and what it says it repaired. */

describe.skipIf(!hasQemu)("a check's own numbers", () => {
  let bench: DamageBench;
  beforeEach(() => {
    bench = new DamageBench();
  });
  afterEach(() => bench.remove());

  test("a data cluster at 32 PiB is an error, and nothing is allocated up to it", async () => {
    bench.create("512", "cluster_size=512");
    qemuIo(bench.image, ["write 0 512"]);
    bench.poke(2048 + 8, 0x80000000000000n);
    const before = process.memoryUsage().arrayBuffers;
    const { counts } = await bench.expectSameCheck();
    expect(counts?.corruptions).toBe(1);
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(64 * 1024 * 1024);
  });

  test("leaks and errors that were repaired stand in the result", async () => {
    bench.create("64k");
    qemuIo(bench.image, ["write 0 64k"]);
    bench.poke(bench.peek64(bench.peek64(48)), 2);
    const l1 = bench.peek64(40);
    bench.poke(l1, BigInt(bench.peek64(l1)) & ~(1n << 63n));
    const { counts } = await bench.expectSameRepair("all");
    expect(counts).toMatchObject({ "corruptions-fixed": 1, "leaks-fixed": 1 });
  });
});
