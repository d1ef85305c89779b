import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { DamageBench } from "../../testing/damage-bench.ts";
import { hasQemu, qemuImg, qemuIo } from "../../testing/qemu.ts";

/*
 * After QEMU's iotest 217: a snapshot's deletion that stopped after the snapshot was gone from the table.
 * What is left are leaks, and -r leaks alone mends the image, COPIED flags included.
 */

describe.skipIf(!hasQemu)("a snapshot deleted by half", () => {
  let bench: DamageBench;
  beforeEach(() => {
    bench = new DamageBench();
    bench.create("64M");
    qemuIo(bench.image, ["write 0 64k"]);
    qemuImg("snapshot", "-c", "foo", bench.image);
    // As after the header was written and before any refcount fell.
    bench.poke(60, [0, 0, 0, 0]);
  });
  afterEach(() => bench.remove());

  test("leaves leaks only", async () => {
    const { counts, exitCode } = await bench.expectSameCheck();
    expect(exitCode).toBe(3);
    expect(counts?.corruptions).toBeUndefined();
  });

  test("is mended by -r leaks", async () => {
    const { counts } = await bench.expectSameRepair("leaks");
    expect(counts).toMatchObject({ "leaks-fixed": 4, "corruptions-fixed": 2 });
    bench.check("image.qcow2");
  });
});
