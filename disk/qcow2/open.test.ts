import { describe, expect, test } from "vitest";
import { ByreError, type ByreErrorCode } from "../errors.ts";
import { createMemoryFile, type MemoryFile } from "../files/memory-file.ts";
import { createQcow2 } from "./create.ts";
import { encodeExtensions } from "./extensions.ts";
import { HeaderField } from "./format.ts";
import { openQcow2, readQcow2Info } from "./open.ts";
import { viewOf } from "./u64.ts";

const CLUSTER_BYTES = 4096;
const SIZE_BYTES = 4 * 1024 * 1024;

async function image(change?: (bytes: Uint8Array, view: DataView) => void): Promise<MemoryFile> {
  const file = createMemoryFile({ name: "disk.qcow2" });
  await createQcow2(file, { sizeBytes: SIZE_BYTES, clusterSizeBytes: CLUSTER_BYTES });
  const device = await openQcow2(file);
  await device.write(0, new Uint8Array(10 * CLUSTER_BYTES).fill(1));
  await device.flush();
  const bytes = file.toBytes();
  change?.(bytes, viewOf(bytes));
  return createMemoryFile({ name: "disk.qcow2", content: bytes });
}

/** The error that opening (and, if asked, reading from the start) meets. */
async function failureOf(file: MemoryFile, writable = true): Promise<ByreError> {
  try {
    const device = await openQcow2(file, { writable });
    await device.read(0, new Uint8Array(SIZE_BYTES));
    await device.write(0, new Uint8Array(512));
  } catch (error) {
    if (error instanceof ByreError) return error;
    throw error;
  }
  throw new Error("it opened, read and wrote");
}

describe("what is not a sound image", () => {
  const u32 = (field: number, value: number) => (_: Uint8Array, view: DataView) =>
    view.setUint32(field, value);
  const u64 = (field: number, value: bigint) => (_: Uint8Array, view: DataView) =>
    view.setBigUint64(field, value);

  const cases: [string, ByreErrorCode, (bytes: Uint8Array, view: DataView) => void, RegExp][] = [
    ["other magic", "NOT_QCOW2", u32(HeaderField.MAGIC, 0x7f454c46), /not a qcow2 image/],
    ["version 1", "UNSUPPORTED_VERSION", u32(HeaderField.VERSION, 1), /version 1/],
    ["version 4", "UNSUPPORTED_VERSION", u32(HeaderField.VERSION, 4), /version 4/],
    ["cluster_bits 8", "CORRUPT", u32(HeaderField.CLUSTER_BITS, 8), /cluster_bits at offset 20 is 8/],
    ["cluster_bits 22", "CORRUPT", u32(HeaderField.CLUSTER_BITS, 22), /cluster_bits/],
    ["a size near 2^63", "TOO_LARGE", u64(HeaderField.SIZE, 0x7ffffffffffffe00n), /virtual size/],
    ["a size its L1 cannot reach", "CORRUPT", u64(HeaderField.SIZE, 1n << 40n), /l1_size/],
    ["a huge l1_size", "TOO_LARGE", u32(HeaderField.L1_SIZE, 0xffffffff), /L1 table/],
    ["an L1 offset inside a cluster", "CORRUPT", u64(HeaderField.L1_OFFSET, 777n), /l1_table_offset/],
    ["an L1 past the end", "TRUNCATED", u64(HeaderField.L1_OFFSET, 1n << 40n), /L1 table needs bytes/],
    ["an L1 offset past 2^53", "CORRUPT", u64(HeaderField.L1_OFFSET, 1n << 60n), /more than 2\^53/],
    ["no refcount table", "CORRUPT", u32(HeaderField.REFCOUNT_TABLE_CLUSTERS, 0), /refcount_table_clusters/],
    [
      "a huge refcount table",
      "CORRUPT",
      u32(HeaderField.REFCOUNT_TABLE_CLUSTERS, 0x7fffffff),
      /refcount_table_clusters/,
    ],
    ["refcount_order 7", "CORRUPT", u32(HeaderField.REFCOUNT_ORDER, 7), /refcount_order at offset 96 is 7/],
    ["header_length 100", "CORRUPT", u32(HeaderField.HEADER_LENGTH, 100), /header_length/],
    [
      "header_length past the cluster",
      "CORRUPT",
      u32(HeaderField.HEADER_LENGTH, CLUSTER_BYTES + 8),
      /header_length/,
    ],
    ["too many snapshots", "CORRUPT", u32(HeaderField.SNAPSHOT_COUNT, 65537), /nb_snapshots/],
    ["AES", "ENCRYPTED", u32(HeaderField.CRYPT_METHOD, 1), /AES/],
    ["LUKS", "LUKS", u32(HeaderField.CRYPT_METHOD, 2), /LUKS/],
    ["crypt_method 3", "UNSUPPORTED_FEATURE", u32(HeaderField.CRYPT_METHOD, 3), /crypt_method 3/],
    ["the corrupt bit", "MARKED_CORRUPT", u64(HeaderField.INCOMPATIBLE_FEATURES, 2n), /marked corrupt/],
    [
      "an external data file",
      "EXTERNAL_DATA_FILE",
      u64(HeaderField.INCOMPATIBLE_FEATURES, 4n),
      /external file/,
    ],
    [
      "extended L2 in clusters of 4 KiB",
      "CORRUPT",
      u64(HeaderField.INCOMPATIBLE_FEATURES, 16n),
      /at least 16384/,
    ],
    [
      "an unknown feature",
      "UNSUPPORTED_FEATURE",
      u64(HeaderField.INCOMPATIBLE_FEATURES, 1n << 40n),
      /incompatible bit 40/,
    ],
    [
      "an unknown compression type",
      "UNSUPPORTED_FEATURE",
      (bytes, view) => {
        view.setBigUint64(HeaderField.INCOMPATIBLE_FEATURES, 8n);
        bytes[HeaderField.COMPRESSION_TYPE] = 2;
      },
      /compression type 2/,
    ],
    [
      "a compression type without its bit",
      "CORRUPT",
      (_, view) => view.setUint8(HeaderField.COMPRESSION_TYPE, 1),
      /feature bit 3/,
    ],
    [
      "an extension that leaves the header",
      "CORRUPT",
      (bytes, view) => {
        view.setUint32(112, 0x12345678);
        view.setUint32(116, bytes.length);
      },
      /extension 0x12345678 at offset 112/,
    ],
    [
      "a backing name in the second cluster",
      "CORRUPT",
      (_, view) => {
        view.setBigUint64(HeaderField.BACKING_OFFSET, 5000n);
        view.setUint32(HeaderField.BACKING_SIZE, 10);
      },
      /backing_file_offset/,
    ],
    [
      "a backing name of 1024 bytes",
      "CORRUPT",
      (_, view) => {
        view.setBigUint64(HeaderField.BACKING_OFFSET, 1000n);
        view.setUint32(HeaderField.BACKING_SIZE, 1024);
      },
      /backing_file_size/,
    ],
    [
      "an L1 entry inside a cluster",
      "CORRUPT",
      (_, view) => view.setUint32(Number(view.getBigUint64(HeaderField.L1_OFFSET)) + 4, 0x200),
      /L1 entry points to 512/,
    ],
    [
      "an L1 entry past the end",
      "TRUNCATED",
      (_, view) => view.setUint32(Number(view.getBigUint64(HeaderField.L1_OFFSET)), 0x80000100),
      /past the end of the file/,
    ],
  ];
  test.each(cases)("%s is refused with %s", async (_, code, change, message) => {
    const error = await failureOf(await image(change));
    expect(error.message).toMatch(message);
    expect(error.message).toContain("disk.qcow2");
    expect(error.code).toBe(code);
  });

  test.each([0, 3, 40, 80, 300, CLUSTER_BYTES, 3 * CLUSTER_BYTES, 4 * CLUSTER_BYTES])(
    "a file cut to %i bytes is not opened",
    async (length) => {
      const whole = (await image()).toBytes();
      const error = await failureOf(
        createMemoryFile({ name: "disk.qcow2", content: whole.slice(0, length) }),
      );
      expect(["TRUNCATED", "NOT_QCOW2"]).toContain(error.code);
      expect(error.message).toContain("disk.qcow2");
    },
  );

  test("a file that has lost its last cluster is refused at once, with where", async () => {
    const whole = (await image()).toBytes();
    const cut = createMemoryFile({
      name: "disk.qcow2",
      content: whole.slice(0, whole.length - CLUSTER_BYTES),
    });
    const error = await openQcow2(cut).catch((reason: unknown) => reason);
    expect(error).toMatchObject({
      code: "TRUNCATED",
      data: { offsetBytes: whole.length - CLUSTER_BYTES, sizeBytes: whole.length - CLUSTER_BYTES },
    });
  });

  test("clusters that were only counted, as after a crash, do not count as cut", async () => {
    const file = await image((bytes, view) => {
      const table = Number(view.getBigUint64(HeaderField.REFCOUNT_TABLE_OFFSET));
      const block = Number(view.getBigUint64(table));
      view.setUint16(block + (bytes.length / CLUSTER_BYTES + 3) * 2, 1);
    });
    const device = await openQcow2(file);
    const read = new Uint8Array(1);
    await device.read(0, read);
    expect(read[0]).toBe(1);
  });

  test("damaged compressed data is an error with its place, not zeros", async () => {
    const file = createMemoryFile({ name: "disk.qcow2" });
    await createQcow2(file, { sizeBytes: SIZE_BYTES, clusterSizeBytes: CLUSTER_BYTES });
    const device = await openQcow2(file);
    const sizeBefore = file.sizeBytes;
    await device.writeCompressed(8192, new Uint8Array(CLUSTER_BYTES).fill(3));
    const bytes = file.toBytes();
    // The compressed data follows the new L2 table.
    bytes.fill(0xff, sizeBefore + CLUSTER_BYTES);
    const damaged = await openQcow2(createMemoryFile({ name: "disk.qcow2", content: bytes }));
    await expect(damaged.read(8192, new Uint8Array(512))).rejects.toMatchObject({
      code: "CORRUPT",
      data: { offsetBytes: sizeBefore + CLUSTER_BYTES },
    });
  });

  test("a refcount that lies is found before anything is changed", async () => {
    const file = await image((_, view) => {
      // The first guest cluster loses its COPIED flag and its refcount: to copy it would be to free it twice.
      const l1 = Number(view.getBigUint64(HeaderField.L1_OFFSET));
      const l2 = Number(view.getBigUint64(l1) & 0x00ffffffffffffffn);
      const entry = view.getBigUint64(l2);
      view.setBigUint64(l2, entry & ~(1n << 63n));
      const cluster = Number(entry & 0x00fffffffffffe00n) / CLUSTER_BYTES;
      const block = Number(view.getBigUint64(Number(view.getBigUint64(HeaderField.REFCOUNT_TABLE_OFFSET))));
      view.setUint16(block + cluster * 2, 0);
    });
    const before = file.toBytes();
    const device = await openQcow2(file);
    await expect(device.write(0, new Uint8Array(10))).rejects.toMatchObject({ code: "CORRUPT" });
    expectOnlyMarkedCorrupt(file, before);
    // Nothing more is done with it.
    await expect(device.write(8192, new Uint8Array(10))).rejects.toMatchObject({ code: "CORRUPT" });
    await device.close();
  });
});

describe("an image over a damaged one", () => {
  test("is not marked corrupt itself, and goes on", async () => {
    const base = await image((_, view) => {
      const l1 = Number(view.getBigUint64(HeaderField.L1_OFFSET));
      view.setBigUint64(l1, (view.getBigUint64(l1) & ~0xfffn) | 0x200n);
    });
    const file = createMemoryFile({ name: "overlay.qcow2" });
    await createQcow2(file, { sizeBytes: SIZE_BYTES, backing: { name: "disk.qcow2", format: "qcow2" } });
    const device = await openQcow2(file, { resolveBacking: async () => base });
    await expect(device.read(0, new Uint8Array(512))).rejects.toMatchObject({ code: "CORRUPT" });
    await device.write(0, new Uint8Array(65536).fill(1));
    await device.flush();
    expect(device.info.corrupt).toBe(false);
  });
});

/** Nothing in the file has changed but the corrupt bit, which every program heeds. */
function expectOnlyMarkedCorrupt(file: MemoryFile, before: Uint8Array): void {
  const after = file.toBytes();
  expect(viewOf(after).getBigUint64(HeaderField.INCOMPATIBLE_FEATURES)).toBe(2n);
  viewOf(after).setBigUint64(HeaderField.INCOMPATIBLE_FEATURES, 0n);
  expect(Buffer.compare(after, before)).toBe(0);
}

describe("an image whose counts do not reach as far as its file", () => {
  test("is not written where the header itself is uncounted", async () => {
    const file = await image((_, view) =>
      view.setBigUint64(Number(view.getBigUint64(HeaderField.REFCOUNT_TABLE_OFFSET)), 0n),
    );
    const before = file.toBytes();
    const device = await openQcow2(file);
    await expect(device.write(SIZE_BYTES - 512, new Uint8Array(512))).rejects.toMatchObject({
      code: "CORRUPT",
    });
    expectOnlyMarkedCorrupt(file, before);
  });

  test.each([100, 70_000, 400_000])(
    "grows past %i bytes that a crash left, and overwrites none",
    async (left) => {
      const file = createMemoryFile({ name: "disk.qcow2" });
      // A refcount block of 64 counts 512-byte clusters: 32 KiB, so that what is left spans several blocks.
      await createQcow2(file, { sizeBytes: SIZE_BYTES, clusterSizeBytes: 512, refcountBits: 64 });
      const sizeBefore = file.sizeBytes;
      file.write(sizeBefore, new Uint8Array(left).fill(0xee));
      const device = await openQcow2(file);
      const data = new Uint8Array(300_000).fill(5);
      await device.write(1000, data);
      const read = new Uint8Array(data.length);
      await device.read(1000, read);
      expect(Buffer.compare(read, data)).toBe(0);
      if (left < 32_768) return;
      // Past what the first blocks counted nothing that was there has been touched.
      const kept = file.toBytes().subarray(65_536, sizeBefore + left);
      expect(kept.every((byte) => byte === 0xee)).toBe(true);
    },
  );
});

describe("what may only be read", () => {
  test.each([1n, 2n])("an image with incompatible bits %i opens read-only", async (features) => {
    const file = await image((_, view) => view.setBigUint64(HeaderField.INCOMPATIBLE_FEATURES, features));
    const device = await openQcow2(file, { writable: false });
    const read = new Uint8Array(1);
    await device.read(0, read);
    expect(read[0]).toBe(1);
    await expect(device.write(0, read)).rejects.toMatchObject({ code: "READ_ONLY" });
  });
});

describe("the backing file", () => {
  async function overlay(name: string): Promise<MemoryFile> {
    const file = createMemoryFile({ name: "overlay.qcow2" });
    await createQcow2(file, { sizeBytes: SIZE_BYTES, backing: { name, format: "qcow2" } });
    return file;
  }

  test("is not opened on the image's word: refused by name unless a resolver supplies it", async () => {
    const error = await openQcow2(await overlay("/etc/passwd")).catch((reason: unknown) => reason);
    expect(error).toMatchObject({ code: "BACKING_DENIED", data: { backing: "/etc/passwd" } });
  });

  test("that is the image itself is found", async () => {
    const bytes = (await overlay("overlay.qcow2")).toBytes();
    let opened = 0;
    let closed = 0;
    const opening = openQcow2(createMemoryFile({ name: "overlay.qcow2", content: bytes }), {
      resolveBacking: async ({ name }) => {
        const file = createMemoryFile({ name, content: bytes });
        opened++;
        const { close } = file;
        file.close = () => {
          closed++;
          return close.call(file);
        };
        return file;
      },
    });
    await expect(opening).rejects.toMatchObject({ code: "BACKING_DEPTH" });
    expect(closed).toBe(opened);
  });

  test("is opened for reading only", async () => {
    const base = await image();
    const before = base.toBytes();
    const device = await openQcow2(await overlay("base"), { resolveBacking: async () => base });
    await device.write(0, new Uint8Array(SIZE_BYTES).fill(7));
    await device.flush();
    expect(Buffer.compare(base.toBytes(), before)).toBe(0);
    expect(device.backing?.writable).toBe(false);
  });
});

describe("what this driver does not know", () => {
  const unknown = { magic: 0xcafef00d, data: new TextEncoder().encode("someone else's extension") };

  test("unknown extensions and compatible bits survive writes; unknown autoclear bits go with the first", async () => {
    const file = await image((bytes, view) => {
      bytes.set(encodeExtensions([unknown]), 112);
      view.setBigUint64(HeaderField.COMPATIBLE_FEATURES, 1n << 50n);
      view.setBigUint64(HeaderField.AUTOCLEAR_FEATURES, (1n << 30n) | 2n);
    });
    const before = file.toBytes();
    const device = await openQcow2(file);
    await device.read(0, new Uint8Array(5000));
    await device.flush();
    expect(Buffer.compare(file.toBytes(), before)).toBe(0);

    await device.write(SIZE_BYTES - 3, new Uint8Array(3).fill(9));
    const after = file.toBytes();
    expect(viewOf(after).getBigUint64(HeaderField.AUTOCLEAR_FEATURES)).toBe(2n);
    expect(viewOf(after).getBigUint64(HeaderField.COMPATIBLE_FEATURES)).toBe(1n << 50n);
    expect(Buffer.compare(after.subarray(112, 200), before.subarray(112, 200))).toBe(0);
  });

  test("info tells of an image that cannot be opened", async () => {
    const file = await image((_, view) => view.setBigUint64(HeaderField.INCOMPATIBLE_FEATURES, 16n));
    expect(await readQcow2Info(file)).toMatchObject({
      version: 3,
      sizeBytes: SIZE_BYTES,
      clusterSizeBytes: CLUSTER_BYTES,
      refcountBits: 16,
    });
  });
});
