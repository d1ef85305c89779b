import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { afterAll, describe, expect, test } from "vitest";
import { createMemoryFile } from "../files/memory-file.ts";
import { ourCheck, qemuCheck } from "../testing/check-differ.ts";
import { Bench, hasQemu, qemuImg, qemuIo } from "../testing/qemu.ts";
import { findBitmapDirectory, markBitmapsInUse, readBitmaps } from "./bitmaps.ts";
import { parseHeader } from "./header.ts";

describe.skipIf(!hasQemu)("persistent dirty bitmaps", () => {
  const bench = new Bench();
  afterAll(() => bench.remove());

  const image = (name: string, options = "cluster_size=4k", size = "4M"): Uint8Array<ArrayBuffer> => {
    const path = bench.path(name);
    qemuImg("create", "-q", "-f", "qcow2", "-o", options, path, size);
    qemuIo(path, ["write 0 64k"]);
    qemuImg("bitmap", "--add", path, "first");
    qemuImg("bitmap", "--add", "--disable", "-g", "512", path, "zweite ü");
    return bench.bytes(name);
  };
  const open = (bytes: Uint8Array) => {
    const file = createMemoryFile({ name: "disk.qcow2", content: bytes });
    return { file, header: parseHeader(bytes, "disk.qcow2") };
  };
  /** Where the directory stands in the file, and the extension in the header. */
  const places = (bytes: Uint8Array) => {
    const { header } = open(bytes);
    const directory = findBitmapDirectory(header, "disk.qcow2")?.offsetBytes ?? 0;
    const view = new DataView(bytes.buffer);
    let extension = header.headerBytes;
    while (view.getUint32(extension) !== 0x23852875)
      extension += 8 + Math.ceil(view.getUint32(extension + 4) / 8) * 8;
    return { directory, extension: extension + 8, view };
  };

  test("are listed with name, granularity and flags", async () => {
    const { file, header } = open(image("list"));
    expect(await readBitmaps(file, header)).toMatchObject([
      { name: "first", granularityBytes: 4096, auto: true, inUse: false },
      { name: "zweite ü", granularityBytes: 512, auto: false, inUse: false },
    ]);
  });

  test("do not count when the autoclear bit is not set", async () => {
    const bytes = image("cleared");
    new DataView(bytes.buffer).setBigUint64(88, 0n);
    const { file, header } = open(bytes);
    expect(await readBitmaps(file, header)).toEqual([]);
    writeFileSync(bench.path("cleared"), bytes);
    const ours = await ourCheck(bench.path("cleared"));
    expect(ours.counts).toEqual(qemuCheck(bench.path("cleared")).counts);
    expect(ours.exitCode).toBe(3);
  });

  test("that are enabled are marked as in use before a write; QEMU then says inconsistent", async () => {
    const bytes = image("mark");
    const { file, header } = open(bytes);
    const writes = await markBitmapsInUse(file, header);
    expect(writes.length).toBe(1);
    for (const { offsetBytes, bytes: data } of writes) file.write(offsetBytes, data);
    expect(await markBitmapsInUse(file, header)).toEqual([]);
    expect((await markBitmapsInUse(file, header, { all: true })).length).toBe(1);
    const path = bench.put("mark", file.toBytes());
    const info = JSON.parse(qemuImg("info", "--output=json", path)) as {
      "format-specific": { data: { bitmaps: { flags: string[] }[] } };
    };
    expect(info["format-specific"].data.bitmaps.map(({ flags }) => flags)).toEqual([["in-use", "auto"], []]);
    bench.check("mark");
    qemuImg("bitmap", "--remove", path, "first");
    bench.check("mark");
  });

  const damage: [string, (places: { directory: number; extension: number; view: DataView }) => void][] = [
    ["no bitmaps in the extension", ({ extension, view }) => view.setUint32(extension, 0)],
    ["65536 bitmaps in the extension", ({ extension, view }) => view.setUint32(extension, 65536)],
    ["a reserved field in the extension", ({ extension, view }) => view.setUint32(extension + 4, 1)],
    ["one bitmap too few", ({ extension, view }) => view.setUint32(extension, 3)],
    ["one bitmap too many", ({ extension, view }) => view.setUint32(extension, 1)],
    ["a directory of 2^40 bytes", ({ extension, view }) => view.setBigUint64(extension + 8, 1n << 40n)],
    ["a directory that ends in an entry", ({ extension, view }) => view.setBigUint64(extension + 8, 40n)],
    ["a misplaced directory", ({ extension, view }) => view.setBigUint64(extension + 16, 513n)],
    ["a directory past the end", ({ extension, view }) => view.setBigUint64(extension + 16, 1n << 40n)],
    ["a table at 0", ({ directory, view }) => view.setBigUint64(directory, 0n)],
    ["a misplaced table", ({ directory, view }) => view.setBigUint64(directory, 100n)],
    ["a table of 2^32 entries", ({ directory, view }) => view.setUint32(directory + 8, 0xffffffff)],
    ["a table of no entries", ({ directory, view }) => view.setUint32(directory + 8, 0)],
    ["unknown flags", ({ directory, view }) => view.setUint32(directory + 12, 4)],
    ["an unknown type", ({ directory, view }) => view.setUint8(directory + 16, 2)],
    ["a granularity of 2^8", ({ directory, view }) => view.setUint8(directory + 17, 8)],
    ["a granularity of 2^32", ({ directory, view }) => view.setUint8(directory + 17, 32)],
    ["a name of 64 KiB", ({ directory, view }) => view.setUint16(directory + 18, 65535)],
    ["extra data", ({ directory, view }) => view.setUint32(directory + 20, 8)],
  ];
  const sound = hasQemu ? image("sound") : new Uint8Array(0);
  test.each(damage)("with %s are refused, as by QEMU", async (_, change) => {
    const bytes = sound.slice();
    change(places(bytes));
    const { file, header } = open(bytes);
    await expect(readBitmaps(file, header)).rejects.toMatchObject({ code: "CORRUPT" });
    const path = bench.put("damaged", bytes);
    expect(spawnSync("qemu-img", ["info", "-f", "qcow2", path]).status).not.toBe(0);
    expect((await ourCheck(path)).exitCode).toBe(qemuCheck(path).exitCode);
  });
});
