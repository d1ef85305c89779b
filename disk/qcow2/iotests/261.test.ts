import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { openNodeFile } from "../../files/node-file.ts";
import { ourCheck } from "../../testing/check-differ.ts";
import { DamageBench } from "../../testing/damage-bench.ts";
import { hasQemu, qemuImg } from "../../testing/qemu.ts";
import { openQcow2 } from "../open.ts";

/*
 * After QEMU's iotest 261: snapshot tables that are incomplete, carry too much extra data, are too large or
 * too long. A device refuses them by name; -r all cuts them to what is allowed and keeps the rest.
 */

const CLUSTER = 65536;

/** One entry of a snapshot table. */
function entry(
  id: string,
  name: string,
  extra: Uint8Array,
  l1: { offset: number; entries: number } = { offset: 0, entries: 0 },
): Buffer {
  const length = 40 + extra.length + id.length + name.length;
  const bytes = Buffer.alloc(Math.ceil(length / 8) * 8);
  bytes.writeBigUInt64BE(BigInt(l1.offset), 0);
  bytes.writeUInt32BE(l1.entries, 8);
  bytes.writeUInt16BE(id.length, 12);
  bytes.writeUInt16BE(name.length, 14);
  bytes.writeUInt32BE(extra.length, 36);
  bytes.set(extra, 40);
  bytes.write(id + name, 40 + extra.length, "latin1");
  return bytes;
}

describe.skipIf(!hasQemu)("snapshot tables out of their limits", () => {
  let bench: DamageBench;
  beforeEach(() => {
    bench = new DamageBench();
  });
  afterEach(() => bench.remove());

  /** Puts a table of entries behind the image and counts its clusters. */
  function putTable(entries: readonly Uint8Array[], count = entries.length): void {
    const table = Buffer.concat(entries);
    const start = Math.ceil(bench.bytes("image.qcow2").length / CLUSTER) * CLUSTER;
    bench.poke(start, table);
    const block = bench.peek64(bench.peek64(48));
    const clusters = Math.ceil(table.length / CLUSTER);
    const ones = new Uint8Array(clusters * 2).map((_, i) => i % 2);
    bench.poke(block + (start / CLUSTER) * 2, ones);
    const header = Buffer.alloc(12);
    header.writeUInt32BE(count);
    header.writeBigUInt64BE(BigInt(start), 4);
    bench.poke(60, header);
  }

  const openError = async () => {
    const device = await openQcow2(await openNodeFile(bench.image)).catch((error: unknown) => error);
    return device as { code?: string };
  };

  test("version 2 entries without sizes are completed in version 3, unknown extra data kept", async () => {
    bench.create("64M");
    const unknown = Buffer.alloc(50);
    unknown.writeBigUInt64BE(64n * 1024n * 1024n, 8);
    unknown.write("very important data", 24);
    putTable([
      entry("1", "sn0", new Uint8Array(0)),
      entry("2", "sn1", unknown),
      entry("3", "sn2", new Uint8Array(8)),
    ]);
    await bench.expectSameCheck();
    await bench.expectSameRepair("all");
    bench.check("image.qcow2");
    expect(Buffer.from(bench.bytes("image.qcow2")).equals(bench.bytes("theirs.qcow2"))).toBe(true);
    const device = await openQcow2(await openNodeFile(bench.image));
    expect(device.snapshots.map(({ name, extraData }) => [name, extraData.length])).toEqual([
      ["sn0", 24],
      ["sn1", 50],
      ["sn2", 24],
    ]);
    await device.close();
  });

  test("extra data of 64 KiB is refused by a device and a check, and cut to 1 KiB by a repair", async () => {
    bench.create("64M");
    putTable([entry("1", "sn0", new Uint8Array(24)), entry("2", "sn1", new Uint8Array(65536))]);
    expect(await openError()).toMatchObject({ code: "TOO_LARGE" });
    const { exitCode, lines } = await bench.expectSameCheck();
    expect(exitCode).toBe(1);
    expect(lines.join("\n")).toContain("Too much extra metadata in snapshot table entry 1");
    await bench.expectSameRepair("all");
    bench.check("image.qcow2");
    expect(qemuImg("snapshot", "-l", bench.image)).toContain("sn1");
  });

  test("a table over 64 MiB loses the snapshots past it", async () => {
    bench.create("64M");
    const large = entry("i".repeat(65535), "n".repeat(65535), new Uint8Array(1024));
    putTable(Array.from({ length: Math.ceil((64 * 1024 * 1024) / large.length) }, () => large));
    expect(await openError()).toMatchObject({ code: "TOO_LARGE" });
    expect((await bench.expectSameCheck()).exitCode).toBe(1);
    await bench.expectSameRepair("all");
    bench.check("image.qcow2");
    expect(bench.peek32(60)).toBe(507);
  }, 90_000);

  test("131072 snapshots become 65536, and what the rest used is freed", async () => {
    bench.create("64M", "compat=0.10");
    bench.poke(14 * CLUSTER, (1n << 63n) | BigInt(15 * CLUSTER));
    bench.poke(15 * CLUSTER + 65528, 0n);
    bench.poke(bench.peek64(bench.peek64(48)) + 14 * 2, [0, 1, 0, 1]);
    const entries: Uint8Array[] = Array.from({ length: 131072 }, () => new Uint8Array(40));
    entries[65536] = entry("", "", new Uint8Array(0), { offset: 14 * CLUSTER, entries: 1 });
    putTable(entries);
    expect(await openError()).toMatchObject({ code: "CORRUPT" });
    expect((await bench.expectSameCheck()).exitCode).toBe(1);
    // QEMU's own repair gives these numbers too, in a minute of small reads.
    const { counts } = await ourCheck(bench.image, "all");
    expect(counts).toMatchObject({ "corruptions-fixed": 65536, "leaks-fixed": 42, "check-errors": 0 });
    expect(counts?.corruptions).toBeUndefined();
    expect(bench.peek32(60)).toBe(65536);
  });

  test("a snapshot's L1 table that is misplaced or too large is told of; nothing of it is read", async () => {
    for (const l1 of [
      { offset: 0x400200, entries: 1 },
      { offset: 0x400000, entries: 0x10000000 },
    ]) {
      bench.create("64M");
      putTable([entry("1", "test", new Uint8Array(24), l1)]);
      await bench.expectSameCheck();
      await bench.expectSameRepair("all");
    }
  });
});
