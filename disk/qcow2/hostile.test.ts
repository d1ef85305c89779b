import { beforeEach, describe, expect, test } from "vitest";
import { ByreError, type ByreErrorCode } from "../errors.ts";
import { createMemoryFile } from "../files/memory-file.ts";
import { expectError } from "../testing/block-file-suite.ts";
import {
  attack,
  CLUSTER_BYTES,
  type Edit,
  inBounds,
  type Layout,
  SIZE_BYTES,
  SPARSE_BYTES,
  STEPS,
  survivesAll,
  watchArrays,
} from "../testing/hostile-image.ts";
import { checkQcow2 } from "./check.ts";
import { createQcow2 } from "./create.ts";
import { HeaderField } from "./format.ts";
import { openQcow2 } from "./open.ts";
import type { Qcow2Device } from "./qcow2-device.ts";
import { viewOf } from "./u64.ts";

/**
 * Images that someone made to harm whoever opens them. Each class of attack has a test: it ends in a typed
 * error (or does no harm), and nothing was allocated or looped over for it.
 */

watchArrays();

const OFFSET_MASK = 0xff_ffff_ffff_fe00n;

const u16 =
  (offset: number, value: number): Edit =>
  (view) =>
    view.setUint16(offset, value);
const u32 =
  (offset: number, value: number): Edit =>
  (view) =>
    view.setUint32(offset, value);
const u64 =
  (offset: number, value: bigint): Edit =>
  (view) =>
    view.setBigUint64(offset, value);
const both =
  (...edits: Edit[]): Edit =>
  (view, at) => {
    for (const edit of edits) edit(view, at);
  };

type Case = [what: string, step: keyof typeof STEPS, code: ByreErrorCode, edit: Edit, sparse?: boolean];

function testRefusals(cases: Case[]): void {
  test.each(cases)("%s: %s is refused with %s", async (_, step, code, edit, sparse) => {
    const size = sparse ? SPARSE_BYTES : undefined;
    const file = await attack(edit, size);
    await inBounds(() => expectError(code, () => STEPS[step](file)));
    if (!sparse) await survivesAll(await attack(edit));
  });
}

describe("header_length", () => {
  testRefusals([
    ["0", "info", "CORRUPT", u32(HeaderField.HEADER_LENGTH, 0)],
    ["103", "info", "CORRUPT", u32(HeaderField.HEADER_LENGTH, 103)],
    ["past the first cluster", "info", "CORRUPT", u32(HeaderField.HEADER_LENGTH, CLUSTER_BYTES + 8)],
    ["near 2^32", "info", "CORRUPT", u32(HeaderField.HEADER_LENGTH, 0xfffffff8)],
  ]);
});

describe("header extensions", () => {
  testRefusals([
    ["one that is longer than its cluster", "info", "CORRUPT", u32(112 + 4, CLUSTER_BYTES)],
    ["one whose length wraps around", "info", "CORRUPT", u32(112 + 4, 0xffffffff)],
  ]);
});

describe("backing file offset and size", () => {
  testRefusals([
    ["an offset inside the header", "info", "CORRUPT", u64(HeaderField.BACKING_OFFSET, 40n)],
    ["an offset past the first cluster", "info", "CORRUPT", u64(HeaderField.BACKING_OFFSET, 1n << 40n)],
    ["an offset near 2^64", "info", "CORRUPT", u64(HeaderField.BACKING_OFFSET, 0xfffffffffffffff8n)],
    [
      "a size past the first cluster",
      "info",
      "CORRUPT",
      both(u64(HeaderField.BACKING_OFFSET, 3800n), u32(HeaderField.BACKING_SIZE, 1000)),
    ],
    [
      "a size of 4 GiB",
      "info",
      "CORRUPT",
      both(u64(HeaderField.BACKING_OFFSET, 512n), u32(HeaderField.BACKING_SIZE, 0xffffffff)),
    ],
  ]);
});

describe("places and sizes of tables, and their products", () => {
  testRefusals([
    ["an L1 of 2^32 entries", "info", "TOO_LARGE", u32(HeaderField.L1_SIZE, 0xffffffff), true],
    ["an L1 of 32 MiB and one entry", "info", "TOO_LARGE", u32(HeaderField.L1_SIZE, 0x400001), true],
    ["an L1 offset near 2^64", "info", "CORRUPT", u64(HeaderField.L1_OFFSET, 0xfffffffffffff000n)],
    ["an L1 past the end", "open", "TRUNCATED", u64(HeaderField.L1_OFFSET, 1n << 44n)],
    ["an L1 for less than the disk", "info", "CORRUPT", u32(HeaderField.L1_SIZE, 0)],
    [
      "a refcount table of 16 TiB",
      "info",
      "CORRUPT",
      u32(HeaderField.REFCOUNT_TABLE_CLUSTERS, 0xffffffff),
      true,
    ],
    ["a refcount table past the end", "open", "TRUNCATED", u64(HeaderField.REFCOUNT_TABLE_OFFSET, 1n << 44n)],
    [
      "a refcount table near 2^64",
      "info",
      "CORRUPT",
      u64(HeaderField.REFCOUNT_TABLE_OFFSET, 0xfffffffffffff000n),
    ],
    ["2^32 snapshots", "info", "CORRUPT", u32(HeaderField.SNAPSHOT_COUNT, 0xffffffff), true],
    ["snapshots past the end", "open", "TOO_LARGE", u64(HeaderField.SNAPSHOTS_OFFSET, 1n << 44n)],
    ["snapshots near 2^64", "info", "CORRUPT", u64(HeaderField.SNAPSHOTS_OFFSET, 0xfffffffffffff000n)],
  ]);

  test("an L1 of 32 MiB in a file of holes opens, and a read of nothing reads nothing", async () => {
    const file = await attack(
      both(u32(HeaderField.L1_SIZE, 0x400000), u64(HeaderField.L1_OFFSET, 1n << 30n)),
      SPARSE_BYTES,
    );
    await inBounds(() => STEPS.read(file));
  });
});

describe("the snapshot table", () => {
  const entry =
    (edit: (view: DataView, at: number, layout: Layout) => void): Edit =>
    (view, layout) =>
      edit(view, layout.snapshots, layout);
  testRefusals([
    ["an L1 of 2^32 entries", "open", "TOO_LARGE", entry((view, at) => view.setUint32(at + 8, 0xffffffff))],
    [
      "an L1 that is larger than the disk's and than the file",
      "snapshot",
      "CORRUPT",
      entry((view, at) => view.setUint32(at + 8, 0x100000)),
    ],
    ["an L1 past the end", "snapshot", "CORRUPT", entry((view, at) => view.setBigUint64(at, 1n << 44n))],
    ["an L1 near 2^64", "open", "CORRUPT", entry((view, at) => view.setBigUint64(at, 0xfffffffffffff000n))],
    ["an L1 inside a cluster", "open", "CORRUPT", entry((view, at) => view.setBigUint64(at, 4097n))],
    ["extra data of 4 GiB", "open", "TOO_LARGE", entry((view, at) => view.setUint32(at + 36, 0xffffffff))],
    ["a table that ends inside an entry", "open", "CORRUPT", u32(HeaderField.SNAPSHOT_COUNT, 60_000)],
    ["no extra data in version 3", "open", "CORRUPT", entry((view, at) => view.setUint32(at + 36, 8))],
    [
      "a disk size near 2^63",
      "open",
      "TOO_LARGE",
      entry((view, at) => view.setBigUint64(at + 48, (1n << 63n) - 512n)),
    ],
  ]);

  test("a disk size that its L1 does not reach does no harm when it is applied", async () => {
    const file = await attack(entry((view, at) => view.setBigUint64(at + 48, 1n << 40n)));
    const device = await openQcow2(file);
    await inBounds(async () => {
      try {
        await device.applySnapshot("before");
        await device.write(device.sizeBytes - 512, new Uint8Array(512).fill(1));
      } catch (error) {
        if (!(error instanceof ByreError) || error.code === "INTERNAL") throw error;
      }
    });
    await survivesAll(file);
  });

  test("a half-read table is never written back: the changed image keeps what could not be read", async () => {
    const file = await attack(u32(HeaderField.SNAPSHOT_COUNT, 60_000));
    const before = file.toBytes();
    file.close = async () => {};
    await expect(STEPS.snapshot(file)).rejects.toBeInstanceOf(ByreError);
    expect(Buffer.compare(file.toBytes(), before)).toBe(0);
  });

  test("names as long as the field allows are no longer than what is there", async () => {
    const file = await attack(
      entry((view, at) => view.setUint16(at + 14, 0xffff)),
      SPARSE_BYTES,
    );
    await inBounds(async () => {
      try {
        const device = await openQcow2(file, { writable: false });
        expect(device.snapshots[0]?.name.length).toBeLessThanOrEqual(0xffff);
      } catch (error) {
        expect(error).toBeInstanceOf(ByreError);
      }
    });
  });

  test("65,536 snapshots that all claim one L1 of 32 MiB cost no more than reading the table", async () => {
    const count = 65_536;
    const table = new Uint8Array(count * 72);
    const view = viewOf(table);
    for (let i = 0; i < count; i++) {
      const at = i * 72;
      view.setBigUint64(at, 1n << 40n);
      view.setUint32(at + 8, 0x400000);
      view.setUint16(at + 12, 5);
      view.setUint32(at + 36, 24);
      view.setBigUint64(at + 48, BigInt(SIZE_BYTES));
      table.set(new TextEncoder().encode(`${10_000 + i}`), at + 64);
    }
    const file = await attack(
      both(u32(HeaderField.SNAPSHOT_COUNT, count), u64(HeaderField.SNAPSHOTS_OFFSET, 1n << 30n)),
      SPARSE_BYTES,
    );
    file.write(2 ** 30, table);
    for (const step of [STEPS.read, STEPS.write])
      await inBounds(async () => {
        try {
          await step(file);
        } catch (error) {
          if (!(error instanceof ByreError)) throw error;
        }
      });
  });
});

describe("refcount blocks and L2 tables where they may not be", () => {
  const l1 =
    (value: bigint | ((at: Layout) => bigint)): Edit =>
    (view, at) =>
      view.setBigUint64(at.l1, (1n << 63n) | (typeof value === "bigint" ? value : value(at)));
  const block =
    (value: bigint | ((at: Layout) => bigint)): Edit =>
    (view, at) =>
      view.setBigUint64(at.refcountTable, typeof value === "bigint" ? value : value(at));
  testRefusals([
    ["an L2 inside a cluster", "read", "CORRUPT", l1(0x1200n)],
    ["an L2 past the end", "read", "TRUNCATED", l1(1n << 44n)],
    ["an L2 that is the header", "write", "CORRUPT", l1((at) => BigInt(at.l1))],
    ["a refcount block at 0", "write", "CORRUPT", block(0n)],
    ["a refcount block inside a cluster", "write", "CORRUPT", block(0x3200n)],
    ["a refcount block past the end", "write", "TRUNCATED", block(1n << 44n)],
    ["a refcount block that is the L1", "write", "CORRUPT", block((at) => BigInt(at.l1))],
  ]);

  test.each<[string, (at: Layout) => number]>([
    ["the header", () => 0],
    ["the L1 table", (at) => at.l1],
    ["an L2 table", (at) => at.l2],
    ["the refcount table", (at) => at.refcountTable],
    ["a refcount block", (at) => at.refcountBlock],
    ["the snapshot table", (at) => at.snapshots],
    ["a snapshot's L1 table", (at) => at.snapshotL1],
  ])("data that overlaps %s is not written: the image is marked corrupt and stops", async (_, where) => {
    const file = await attack((view, at) => view.setBigUint64(at.l2, (1n << 63n) | BigInt(where(at))));
    const before = file.toBytes();
    const device = await openQcow2(file);
    const write = () => device.write(0, new Uint8Array(100).fill(0x66));
    // An entry with offset 0 is no cluster at all, so the first write takes a new one.
    if (viewOf(before).getBigUint64(await l2Of(before)) === 1n << 63n) return;
    await inBounds(() => expectError("CORRUPT", write));
    await expect(write()).rejects.toBeInstanceOf(ByreError);
    const after = file.toBytes();
    expect(viewOf(after).getBigUint64(HeaderField.INCOMPATIBLE_FEATURES) & 2n).toBe(2n);
    after[HeaderField.INCOMPATIBLE_FEATURES + 7] = before[HeaderField.INCOMPATIBLE_FEATURES + 7] ?? 0;
    expect(Buffer.compare(after.subarray(0, before.length), before)).toBe(0);
    await expectError("MARKED_CORRUPT", () => openQcow2(createMemoryFile({ content: file.toBytes() })));
  });

  async function l2Of(bytes: Uint8Array): Promise<number> {
    const view = viewOf(bytes);
    return Number(view.getBigUint64(Number(view.getBigUint64(HeaderField.L1_OFFSET))) & OFFSET_MASK);
  }
});

describe("COPIED flags that lie", () => {
  test("a shared cluster that claims to be unshared: the check names it and mends it", async () => {
    // Guest cluster 8 is shared with the snapshot.
    const file = await attack((view, at) => {
      view.setBigUint64(at.l2 + 8 * 8, view.getBigUint64(at.l2 + 8 * 8) | (1n << 63n));
    });
    expect((await checkQcow2(file)).corruptions).toBeGreaterThan(0);
    expect((await checkQcow2(file, { repair: "all" })).corruptions).toBe(0);
    expect((await checkQcow2(file)).corruptions).toBe(0);
  });

  test("an unshared cluster that claims to be shared costs a copy and no more", async () => {
    const file = await attack((view, at) => {
      view.setBigUint64(at.l2, view.getBigUint64(at.l2) & ~(1n << 63n));
    });
    await STEPS.write(file);
    expect((await checkQcow2(file)).corruptions).toBe(0);
  });

  test("a used cluster whose count is 0 is not handed out again", async () => {
    const file = await attack((view, at) =>
      view.setUint16(at.refcountBlock + (at.data / CLUSTER_BYTES) * 2, 0),
    );
    const device = await openQcow2(file);
    await inBounds(async () => {
      try {
        await device.write(15 * CLUSTER_BYTES, new Uint8Array(40 * CLUSTER_BYTES).fill(9));
      } catch (error) {
        expect(error).toBeInstanceOf(ByreError);
      }
    });
    await survivesAll(file);
  });
});

describe("compressed descriptors", () => {
  const descriptor =
    (value: bigint): Edit =>
    (view, at) =>
      view.setBigUint64(at.l2 + 20 * 8, (1n << 62n) | value);
  testRefusals([
    ["data past the end", "read", "CORRUPT", descriptor(1n << 50n)],
    ["data past the end, but not of a hole", "read", "CORRUPT", descriptor((1n << 58n) - 512n)],
    ["data that is no deflate stream", "read", "CORRUPT", descriptor(0n)],
  ]);

  test("a length that reaches past the end is cut at the end", async () => {
    const file = await attack((view, at) => {
      const old = view.getBigUint64(at.l2 + 20 * 8);
      view.setBigUint64(at.l2 + 20 * 8, old | (15n << 58n));
    });
    const device = await openQcow2(file, { writable: false });
    const bytes = new Uint8Array(CLUSTER_BYTES);
    await inBounds(() => device.read(20 * CLUSTER_BYTES, bytes));
    expect(bytes.every((byte) => byte === 3)).toBe(true);
  });

  test("a length that is too short is damage, not zeros", async () => {
    const noise = crypto.getRandomValues(new Uint8Array(CLUSTER_BYTES / 2));
    const cluster = new Uint8Array(CLUSTER_BYTES);
    cluster.set(noise);
    const file = createMemoryFile({ name: "evil.qcow2" });
    await createQcow2(file, { sizeBytes: SIZE_BYTES, clusterSizeBytes: CLUSTER_BYTES });
    const device = await openQcow2(file);
    await device.writeCompressed(0, cluster);
    await device.flush();
    const bytes = file.toBytes();
    const view = viewOf(bytes);
    const l2 = Number(view.getBigUint64(Number(view.getBigUint64(HeaderField.L1_OFFSET))) & OFFSET_MASK);
    view.setBigUint64(l2, view.getBigUint64(l2) & ~(15n << 58n));
    const short = await openQcow2(createMemoryFile({ name: "evil.qcow2", content: bytes }));
    await expectError("CORRUPT", () => short.read(0, new Uint8Array(512)));
  });
});

describe("virtual sizes near 2^63", () => {
  testRefusals([
    ["2^63 - 512", "info", "TOO_LARGE", u64(HeaderField.SIZE, (1n << 63n) - 512n)],
    ["2^63", "info", "TOO_LARGE", u64(HeaderField.SIZE, 1n << 63n)],
    ["2^64 - 1", "info", "TOO_LARGE", u64(HeaderField.SIZE, (1n << 64n) - 1n)],
    ["2^53", "info", "TOO_LARGE", u64(HeaderField.SIZE, 1n << 53n)],
    ["2^53 - 512 with a small L1", "info", "CORRUPT", u64(HeaderField.SIZE, (1n << 53n) - 512n)],
  ]);
});

describe("snapshot names", () => {
  let device: Qcow2Device;
  beforeEach(async () => {
    device = await openQcow2(await attack(() => {}));
  });

  test.each([256, 65_536])("one of %i bytes is not made", async (length) => {
    await expectError("INVALID_ARGUMENT", () => device.createSnapshot({ name: "n".repeat(length) }));
  });

  test("one that another tool made too long is read, or refused with its place", async () => {
    const file = await attack((view, at) => u16(at.snapshots + 14, 300)(view, at));
    await survivesAll(file);
  });
});

describe("a cluster held in reserve", () => {
  test("past the end of any file is not written to", async () => {
    const file = await attack((view, at) => {
      // Zero flag, COPIED flag, and a host cluster 4 PiB into the file.
      view.setBigUint64(at.l2, (1n << 63n) | (1n << 52n) | 1n);
    });
    await inBounds(async () => {
      try {
        await STEPS.write(file);
      } catch (error) {
        if (!(error instanceof ByreError) || error.code === "INTERNAL") throw error;
      }
    });
    expect(file.sizeBytes).toBeLessThan(2 ** 40);
  });
});
