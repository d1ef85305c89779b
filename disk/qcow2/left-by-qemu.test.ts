import { spawnSync } from "node:child_process";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { createMemoryFile, type MemoryFile } from "../files/memory-file.ts";
import { Bench, hasQemu, qemuImg, qemuIo } from "../testing/qemu.ts";
import { openQcow2 } from "./open.ts";
import type { Qcow2Device } from "./qcow2-device.ts";

const MIB = 1024 * 1024;

/** Images in states that only another program leaves. */
describe.skipIf(!hasQemu)("an image that QEMU left", () => {
  let bench: Bench;
  beforeEach(() => {
    bench = new Bench();
  });
  afterEach(() => bench.remove());

  function create(options: string, size = "8M"): string {
    const path = bench.path("disk.qcow2");
    qemuImg("create", "-q", "-f", "qcow2", "-o", options, path, size);
    return path;
  }

  function load(options: { writable?: boolean } = {}): MemoryFile {
    return createMemoryFile({ name: "disk.qcow2", content: bench.bytes("disk.qcow2"), ...options });
  }

  async function bytesOf(device: Qcow2Device): Promise<Uint8Array> {
    const bytes = new Uint8Array(device.sizeBytes);
    await device.read(0, bytes);
    return bytes;
  }

  describe("dirty, with refcounts behind its tables", () => {
    beforeEach(() => {
      const path = create("lazy_refcounts=on");
      // It goes away without closing: no count has been written.
      spawnSync("qemu-io", ["-c", "write -P 7 1M 2M", "-c", "flush", "-c", "abort", path]);
      expect(bench.checkCounts("disk.qcow2").corruptions).toBeGreaterThan(0);
    });

    test("is read as it is, and not touched", async () => {
      const file = load({ writable: false });
      const device = await openQcow2(file);
      expect(device.info).toMatchObject({ dirty: true, lazyRefcounts: true });
      const bytes = await bytesOf(device);
      expect([bytes[MIB - 1], bytes[MIB], bytes[3 * MIB - 1], bytes[3 * MIB]]).toEqual([0, 7, 7, 0]);
      expect(Buffer.compare(file.toBytes(), bench.bytes("disk.qcow2"))).toBe(0);
    });

    test("is repaired when it is opened for writing", async () => {
      const file = load();
      const device = await openQcow2(file);
      expect(device.info.dirty).toBe(false);
      await device.write(0, new Uint8Array(MIB).fill(9));
      await device.flush();
      bench.put("disk.qcow2", file.toBytes());
      bench.check("disk.qcow2");
      const bytes = bench.guestBytes("disk.qcow2");
      expect([bytes[0], bytes[MIB - 1], bytes[MIB], bytes[3 * MIB - 1], bytes[3 * MIB]]).toEqual([
        9, 9, 7, 7, 0,
      ]);
    });
  });

  describe("with dirty bitmaps", () => {
    beforeEach(() => {
      const path = create("compat=1.1");
      qemuImg("bitmap", "--add", path, "recording");
      qemuImg("bitmap", "--add", "--disable", path, "disabled");
      qemuIo(path, ["write -P 1 0 1M"]);
    });

    test("is read without a word, and not touched", async () => {
      const warnings: string[] = [];
      const file = load();
      const device = await openQcow2(file, { onWarning: (message) => warnings.push(message) });
      await bytesOf(device);
      await device.close();
      expect(warnings).toEqual([]);
    });

    test("has those that record marked as in use by the first write, with a warning", async () => {
      const warnings: string[] = [];
      const file = load();
      const device = await openQcow2(file, { onWarning: (message) => warnings.push(message) });
      await device.write(2 * MIB, new Uint8Array(1000).fill(2));
      await device.write(3 * MIB, new Uint8Array(1000).fill(2));
      await device.flush();
      expect(warnings).toEqual([expect.stringMatching(/1 dirty bitmaps/)]);
      const path = bench.put("disk.qcow2", file.toBytes());
      bench.check("disk.qcow2");
      const info = JSON.parse(qemuImg("info", "--output=json", path)) as {
        "format-specific": { data: { bitmaps: { name: string; flags: string[] }[] } };
      };
      const flags = info["format-specific"].data.bitmaps.map(({ name, flags: has }) => [name, has.sort()]);
      expect(flags.sort()).toEqual([
        ["disabled", []],
        ["recording", ["auto", "in-use"]],
      ]);
      // QEMU goes on with it, and can drop the bitmap.
      qemuIo(path, ["read -P 2 2M 1000"]);
      qemuImg("bitmap", "--remove", path, "recording");
      bench.check("disk.qcow2");
    });

    test("keeps its size", async () => {
      const device = await openQcow2(load());
      await expect(device.resize(16 * MIB)).rejects.toMatchObject({ code: "UNSUPPORTED_FEATURE" });
    });
  });

  test.each(["metadata", "falloc", "full"])(
    "preallocated (%s) is read and written in place",
    async (mode) => {
      create(`preallocation=${mode}`);
      const file = load();
      const before = file.sizeBytes;
      const device = await openQcow2(file);
      expect((await bytesOf(device)).every((byte) => byte === 0)).toBe(true);
      await device.write(1000, new Uint8Array(5 * MIB).fill(3));
      await device.flush();
      expect(file.sizeBytes).toBe(before);
      bench.put("disk.qcow2", file.toBytes());
      bench.check("disk.qcow2");
    },
  );

  test.each(["zlib", "zstd"])("compressed with %s is read, changed and read again", async (type) => {
    const raw = new Uint8Array(8 * MIB);
    for (let i = 0; i < raw.length; i++) raw[i] = (i >> 9) % 7;
    bench.put("disk.raw", raw);
    const options = `compression_type=${type}`;
    qemuImg("convert", "-c", "-O", "qcow2", "-o", options, bench.path("disk.raw"), bench.path("disk.qcow2"));
    const file = load();
    const device = await openQcow2(file);
    expect(Buffer.compare(await bytesOf(device), raw)).toBe(0);
    const data = new Uint8Array(300_000).fill(0xee);
    await device.write(100_000, data);
    raw.set(data, 100_000);
    await device.flush();
    bench.put("disk.qcow2", file.toBytes());
    bench.check("disk.qcow2");
    expect(Buffer.compare(bench.guestBytes("disk.qcow2"), raw)).toBe(0);
  });

  test("needing a feature that is not known is refused by the name it gives it", async () => {
    create("compat=1.1");
    const bytes = bench.bytes("disk.qcow2");
    const view = new DataView(bytes.buffer);
    view.setBigUint64(72, 1n << 9n);
    // The first entry of the feature-name table, told anew: incompatible, bit 9.
    const at = Buffer.from(bytes).indexOf(Buffer.from([0x68, 0x03, 0xf8, 0x57])) + 8;
    bytes[at] = 0;
    bytes[at + 1] = 9;
    bytes.fill(0, at + 2, at + 48);
    bytes.set(new TextEncoder().encode("moonlight"), at + 2);
    await expect(openQcow2(createMemoryFile({ content: bytes }))).rejects.toMatchObject({
      code: "UNSUPPORTED_FEATURE",
      message: expect.stringContaining("moonlight"),
    });
  });
});
