import { afterAll, describe, expect, test } from "vitest";
import { ByreError } from "../errors.ts";
import { createMemoryFile } from "../files/memory-file.ts";
import { type Make2008Options, make2008Image } from "../testing/make-2008-image.ts";
import { Bench, hasQemu, qemuImg } from "../testing/qemu.ts";
import { createQcow2 } from "./create.ts";
import { HeaderField } from "./format.ts";
import { open2008Image, read2008Metadata } from "./metadata-2008.ts";
import { openQcow2 } from "./open.ts";

const SIZE_BYTES = 1024 * 1024;
const data = new Uint8Array(10_000).map((_, i) => i * 7);

const open = (bytes: Uint8Array) => createMemoryFile({ name: "old.qcow3", content: bytes });
const make = (options: Partial<Make2008Options> = {}) =>
  make2008Image({ sizeBytes: SIZE_BYTES, entries: ["Title:An old disk", "Note:"], data, ...options });

describe("an image of the 2008 qcow3 format", () => {
  test("has its pairs read, in order, with or without a NUL after the last", async () => {
    const entries = ["Title:An old disk", "Empty:", "Time:12:30", "Größe:drei"];
    const pairs = [
      ["Title", "An old disk"],
      ["Empty", ""],
      ["Time", "12:30"],
      ["Größe", "drei"],
    ];
    expect(await read2008Metadata(open(await make({ entries })))).toEqual(pairs);
    expect(await read2008Metadata(open(await make({ entries, trailingNul: true })))).toEqual(pairs);
  });

  test("gives the guest's bytes, and cannot be written", async () => {
    const { device, pairs } = await open2008Image(open(await make()));
    const read = new Uint8Array(data.length + 100);
    await device.read(0, read);
    expect(read.subarray(0, data.length)).toEqual(data);
    expect(device.sizeBytes).toBe(SIZE_BYTES);
    expect(device.writable).toBe(false);
    expect(pairs[0]).toEqual(["Title", "An old disk"]);
    await expect(device.write(0, data)).rejects.toMatchObject({ code: "READ_ONLY" });
    await device.close();
  });

  test("asks the caller for the file named under Backing-File, and never follows it", async () => {
    const bytes = await make({ entries: ["Backing-File:../base.raw", "Title:x"], data: undefined });
    await expect(open2008Image(open(bytes))).rejects.toMatchObject({ code: "BACKING_DENIED" });
    const asked: string[] = [];
    const { device } = await open2008Image(open(bytes), {
      resolveBacking: async ({ name }) => {
        asked.push(name);
        return createMemoryFile({ name: "base", content: new Uint8Array(SIZE_BYTES).fill(0x5a) });
      },
    });
    const read = new Uint8Array(16);
    await device.read(4096, read);
    expect(asked).toEqual(["../base.raw"]);
    expect(read).toEqual(new Uint8Array(16).fill(0x5a));
  });

  test("is not opened as an image of today", async () => {
    await expect(openQcow2(open(await make()))).rejects.toBeInstanceOf(ByreError);
  });

  const damaged: [string, Partial<Make2008Options>, ((view: DataView) => void)?][] = [
    ["no metadata", { entries: [] }],
    ["an entry without a key", { entries: ["Title:x", ":value"] }],
    ["an entry without a colon", { entries: ["Title"] }],
    ["an empty entry", { entries: ["Title:x", "", "Note:y"] }],
    ["an entry that is not UTF-8", { entries: [new Uint8Array([0x54, 0x3a, 0xff, 0xfe])] }],
    ["two backing files", { entries: ["Backing-File:a", "Backing-File:b"] }],
    ["a backing file's name of 1024 bytes", { entries: [`Backing-File:${"a".repeat(1024)}`] }],
    ["metadata inside the header", {}, (view) => view.setBigUint64(HeaderField.BACKING_OFFSET, 40n)],
    ["metadata past the first cluster", {}, (view) => view.setUint32(HeaderField.BACKING_SIZE, 5000)],
    ["metadata at 2^63", {}, (view) => view.setBigUint64(HeaderField.BACKING_OFFSET, 1n << 63n)],
    ["an L1 table at 0", {}, (view) => view.setBigUint64(HeaderField.L1_OFFSET, 0n)],
    ["a huge L1 table", {}, (view) => view.setUint32(HeaderField.L1_SIZE, 0xffffffff)],
    [
      "a refcount table inside a cluster",
      {},
      (view) => view.setBigUint64(HeaderField.REFCOUNT_TABLE_OFFSET, 100n),
    ],
    ["a cluster size of 2^30", {}, (view) => view.setUint32(HeaderField.CLUSTER_BITS, 30)],
    ["version 2", {}, (view) => view.setUint32(HeaderField.VERSION, 2)],
    ["a header length in range", {}, (view) => view.setUint32(HeaderField.HEADER_LENGTH, 104)],
  ];
  test.each(damaged)("is not seen in one with %s", async (_, options, change) => {
    const bytes = await make(options);
    change?.(new DataView(bytes.buffer));
    expect(await read2008Metadata(open(bytes))).toBeUndefined();
    await expect(open2008Image(open(bytes))).rejects.toMatchObject({ code: "NOT_QCOW2" });
  });

  test("is not seen in files cut anywhere in the first cluster", async () => {
    const whole = await make();
    for (const length of [0, 3, 71, 72, 511, 512, 4095])
      expect(await read2008Metadata(open(whole.slice(0, length)))).toBeUndefined();
  });
});

describe("a version 3 image of today", () => {
  const bench = new Bench();
  afterAll(() => bench.remove());

  test("of ours is never taken for one", async () => {
    for (const clusterSizeBytes of [512, 4096, 65536, 2 ** 21])
      for (const backing of [undefined, { name: "a:b", format: "raw" as const }]) {
        const file = createMemoryFile();
        await createQcow2(file, { sizeBytes: SIZE_BYTES, clusterSizeBytes, ...(backing && { backing }) });
        expect(await read2008Metadata(file)).toBeUndefined();
      }
  });

  test.skipIf(!hasQemu)("of QEMU's is never taken for one, whatever it holds", async () => {
    const base = bench.path("key:value");
    qemuImg("create", "-q", "-f", "raw", base, "1M");
    const options = ["", "cluster_size=512", "extended_l2=on", "compression_type=zstd", "refcount_bits=1"];
    for (const option of options) {
      const path = bench.path("image");
      qemuImg(
        "create",
        "-q",
        "-f",
        "qcow2",
        "-F",
        "raw",
        "-b",
        base,
        ...(option ? ["-o", option] : []),
        path,
      );
      expect(await read2008Metadata(open(bench.bytes("image"))), option).toBeUndefined();
    }
  });

  test.skipIf(!hasQemu)("is what QEMU wants: it refuses the other", async () => {
    const path = bench.put("old", await make());
    expect(() => qemuImg("info", "-f", "qcow2", path)).toThrow();
  });
});
