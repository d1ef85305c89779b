import { spawnSync } from "node:child_process";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { ByreError } from "../../errors.ts";
import { openNodeFile } from "../../files/node-file.ts";
import { ourCheck, qemuCheck } from "../../testing/check-differ.ts";
import { DamageBench } from "../../testing/damage-bench.ts";
import { hasQemu, qemuIo } from "../../testing/qemu.ts";
import { openQcow2 } from "../open.ts";

/*
 * After QEMU's iotest 080: headers that lie. What QEMU refuses to open we refuse, with a typed error that
 * names the field, before anything is allocated; what it opens we open.
 */

const bytes = (hex: string) => Array.from(Buffer.from(hex, "hex"));

/** Header fields: name, offset, value, and what the error says. */
const LIES: [string, [number, string][], RegExp][] = [
  ["a header length of 4 GiB", [[100, "ffffffff"]], /header_length/],
  ["a header length of 2 GiB", [[100, "7fffffff"]], /header_length/],
  ["a header length of 96", [[100, "00000060"]], /header_length/],
  ["a backing name at 2^64", [[8, "ffffffffffffffff"]], /backing_file_offset/],
  [
    "an extension of 2 GiB",
    [
      [112, "12345678"],
      [116, "7fffffff"],
    ],
    /extension 0x12345678/,
  ],
  [
    "an extension that reaches into the backing name",
    [
      [8, "0000000000000074"],
      [16, "00000004"],
      [112, "12345678"],
      [116, "7fffffff"],
    ],
    /extension|backing_file_offset/,
  ],
  ["a refcount table of 2^32 clusters", [[56, "ffffffff"]], /refcount_table_clusters/],
  ["a refcount table over 8 MiB", [[56, "00020001"]], /refcount_table_clusters/],
  ["no refcount table", [[56, "00000000"]], /refcount_table_clusters/],
  ["a misaligned refcount table", [[48, "1234567890abcdef"]], /refcount_table_offset/],
  [
    "a refcount table at 2^64",
    [
      [48, "ffffffffffff0000"],
      [56, "0000007f"],
    ],
    /refcount_table_offset/,
  ],
  ["2^32 snapshots", [[60, "ffffffff"]], /nb_snapshots/],
  ["2^31 snapshots", [[60, "7fffffff"]], /nb_snapshots/],
  [
    "a snapshot table at 2^64",
    [
      [64, "ffffffffffff0000"],
      [60, "0000ffff"],
    ],
    /snapshots_offset/,
  ],
  [
    "a misaligned snapshot table",
    [
      [64, "1234567890abcdef"],
      [60, "00000000"],
    ],
    /snapshots_offset/,
  ],
  ["an L1 table of 2^32 entries", [[36, "ffffffff"]], /L1 table|l1_size/],
  ["an L1 table of 2^31 entries", [[36, "7fffffff"]], /L1 table|l1_size/],
  [
    "an L1 table at 2^63",
    [
      [40, "7fffffffffff0000"],
      [36, "0000ffff"],
    ],
    /l1_table_offset/,
  ],
  [
    "a misaligned L1 table",
    [
      [40, "1234567890abcdef"],
      [36, "00000001"],
    ],
    /l1_table_offset/,
  ],
  ["an L1 table too small for the disk", [[36, "00000000"]], /l1_size/],
  [
    "a backing name of 4 GiB",
    [
      [8, "0000000000001000"],
      [16, "ffffffff"],
    ],
    /backing_file_size/,
  ],
  ["clusters of 2^8", [[20, "00000008"]], /cluster_bits/],
  ["clusters of 2^22", [[20, "00000016"]], /cluster_bits/],
  ["refcounts of 2^7 bits", [[96, "00000007"]], /refcount_order/],
  ["version 4", [[4, "00000004"]], /version/],
];

describe.skipIf(!hasQemu)("headers that lie", () => {
  let bench: DamageBench;
  beforeEach(() => {
    bench = new DamageBench();
    bench.create("64M");
  });
  afterEach(() => bench.remove());

  /** The error that a full open meets; undefined when it opens. */
  async function refusal(): Promise<ByreError | undefined> {
    try {
      const device = await openQcow2(await openNodeFile(bench.image));
      await device.close();
      return undefined;
    } catch (error) {
      if (error instanceof ByreError) return error;
      throw error;
    }
  }

  test.each(LIES)("%s is refused, as by QEMU", async (_, pokes, message) => {
    for (const [offset, value] of pokes) bench.poke(offset, bytes(value));
    const theirs = spawnSync("qemu-io", ["-r", "-c", "read 0 512", bench.image], { encoding: "utf8" });
    expect(theirs.status, theirs.stdout + theirs.stderr).not.toBe(0);
    const error = await refusal();
    expect(error?.message).toMatch(message);
    expect(error?.message).toContain("image.qcow2");
  });

  test.each(LIES)("%s: a check ends as QEMU's does", async (_, pokes) => {
    for (const [offset, value] of pokes) bench.poke(offset, bytes(value));
    const theirs = qemuCheck(bench.image);
    const ours = await ourCheck(bench.image);
    expect({ exit: ours.exitCode, counts: ours.counts }).toEqual({
      exit: theirs.exitCode,
      counts: theirs.counts,
    });
  });

  test("a snapshot table at its largest is read, one more snapshot is refused", async () => {
    bench.poke(64, 0x1000000n);
    bench.poke(60, bytes("00010000"));
    bench.poke(0x1000000 + 65536 * 64, 0n);
    const table = Buffer.alloc(65536 * 56);
    for (let i = 0; i < 65536; i++) table.writeUInt32BE(16, i * 56 + 36);
    bench.poke(0x1000000, table);
    const device = await openQcow2(await openNodeFile(bench.image, { writable: true }));
    await expect(device.createSnapshot({ name: "test" })).rejects.toMatchObject({ code: "TOO_LARGE" });
    await device.read(0, new Uint8Array(512));
    await device.close();
  });

  test.each([
    ["past 2^56", "bfffffffffff0000"],
    ["past the end of the file", "800000ffffff0000"],
  ])("a snapshot over an L2 entry %s is refused, and checked as by QEMU", async (_, entry) => {
    qemuIo(bench.image, ["write 0 512"]);
    bench.poke(0x40000, bytes(entry));
    await bench.expectSameCheck();
    const device = await openQcow2(await openNodeFile(bench.image, { writable: true })).catch(
      (error: unknown) => error,
    );
    if (!(device instanceof ByreError)) {
      const opened = device as Awaited<ReturnType<typeof openQcow2>>;
      await expect(opened.createSnapshot({ name: "test" })).rejects.toBeInstanceOf(ByreError);
      await opened.close();
    }
    expect(bench.peek32(60)).toBe(0);
  });
});
