import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { createMemoryFile, type MemoryFile } from "../files/memory-file.ts";
import { Bench, hasQemu, qemuImg, qemuIo } from "../testing/qemu.ts";
import { createQcow2 } from "./create.ts";
import { openQcow2 } from "./open.ts";
import type { Qcow2Device } from "./qcow2-device.ts";

const MIB = 1024 * 1024;

/** Every cluster size that matters: the ends, the usual one, and one where tables are a few sectors. */
const SHAPES = [
  { version: 2, clusterSizeBytes: 65536, refcountBits: 16 },
  { version: 2, clusterSizeBytes: 512, refcountBits: 16 },
  { version: 3, clusterSizeBytes: 65536, refcountBits: 16 },
  { version: 3, clusterSizeBytes: 512, refcountBits: 16 },
  { version: 3, clusterSizeBytes: 512, refcountBits: 64 },
  { version: 3, clusterSizeBytes: 2 * MIB, refcountBits: 16 },
  { version: 3, clusterSizeBytes: 4096, refcountBits: 1 },
  { version: 3, clusterSizeBytes: 4096, refcountBits: 2 },
  { version: 3, clusterSizeBytes: 4096, refcountBits: 4 },
  { version: 3, clusterSizeBytes: 4096, refcountBits: 8 },
  { version: 3, clusterSizeBytes: 65536, refcountBits: 32 },
  { version: 3, clusterSizeBytes: 65536, refcountBits: 64 },
] as const;

describe.skipIf(!hasQemu)("qcow2 against QEMU", () => {
  let bench: Bench;
  beforeEach(() => {
    bench = new Bench();
  });
  afterEach(() => bench.remove());

  function createWithQemu(name: string, size: string, options: string, ...extra: string[]): void {
    qemuImg("create", "-q", "-f", "qcow2", "-o", options, ...extra, bench.path(name), size);
  }

  function load(name: string): MemoryFile {
    return createMemoryFile({ name, content: bench.bytes(name) });
  }

  async function openWith(name: string, ...behind: string[]): Promise<Qcow2Device> {
    return openQcow2(load(name), {
      resolveBacking: async (request) => {
        expect(behind).toContain(request.name);
        return createMemoryFile({ name: request.name, content: bench.bytes(request.name), writable: false });
      },
    });
  }

  async function guestBytes(device: Qcow2Device): Promise<Uint8Array> {
    const bytes = new Uint8Array(device.sizeBytes);
    await device.read(0, bytes);
    return bytes;
  }

  /** Runs writes on an image through our driver and stores the file back. */
  async function change(
    name: string,
    behind: readonly string[],
    work: (device: Qcow2Device) => Promise<void>,
  ): Promise<void> {
    const file = load(name);
    const device = await openQcow2(file, {
      resolveBacking: async (request) => {
        expect(behind).toContain(request.name);
        return createMemoryFile({ name: request.name, content: bench.bytes(request.name), writable: false });
      },
    });
    await work(device);
    await device.flush();
    bench.put(name, file.toBytes());
    await device.close();
  }

  describe.each(SHAPES)(
    "version $version, clusters of $clusterSizeBytes, refcounts of $refcountBits bits",
    (shape) => {
      const sizeBytes = shape.clusterSizeBytes === 512 ? 4 * MIB : 32 * MIB;
      const options =
        `compat=${shape.version === 2 ? "0.10" : "1.1"},cluster_size=${shape.clusterSizeBytes}` +
        `,refcount_bits=${shape.refcountBits}`;

      test("made and written there, read and written here", async () => {
        createWithQemu("there.qcow2", String(sizeBytes), options);
        qemuIo(bench.path("there.qcow2"), [
          "write -P 1 0 65536",
          "write -P 2 1000448 123392",
          `write -P 3 ${sizeBytes - 512} 512`,
        ]);
        const model = bench.guestBytes("there.qcow2");
        const device = await openWith("there.qcow2");
        expect(Buffer.compare(await guestBytes(device), model)).toBe(0);
        await device.close();

        await change("there.qcow2", [], async (writable) => {
          for (const [offset, length, value] of [
            [100, 700, 11],
            [1_100_000, 200_001, 12],
            [sizeBytes - 65536, 65000, 13],
            [2 * MIB, MIB, 14],
          ] as const) {
            const data = new Uint8Array(length).fill(value);
            await writable.write(offset, data);
            model.set(data, offset);
          }
        });
        bench.check("there.qcow2");
        expect(Buffer.compare(bench.guestBytes("there.qcow2"), model)).toBe(0);
      });

      test("made and written here, read and written there", async () => {
        const file = createMemoryFile({ name: "here.qcow2" });
        await createQcow2(file, { sizeBytes, ...shape });
        bench.put("here.qcow2", file.toBytes());
        bench.check("here.qcow2");
        await change("here.qcow2", [], async (device) => {
          await device.write(70_000, new Uint8Array(300_000).fill(0x41));
          await device.write(sizeBytes - 1, Uint8Array.of(0x42));
        });
        bench.check("here.qcow2");
        qemuIo(bench.path("here.qcow2"), ["read -P 0x41 70144 299520", "write -P 0x43 200704 1536"]);
        bench.check("here.qcow2");
        const device = await openWith("here.qcow2");
        const bytes = await guestBytes(device);
        expect(bytes[69_999]).toBe(0);
        expect(bytes[70_000]).toBe(0x41);
        expect(bytes[200_704]).toBe(0x43);
        expect(bytes[200_704 + 1536]).toBe(0x41);
        expect(bytes[sizeBytes - 1]).toBe(0x42);
        await device.close();
      });
    },
  );

  test("zlib-compressed clusters are read, and unpacked by a write", async () => {
    const raw = new Uint8Array(3 * MIB + 512);
    for (let i = 0; i < raw.length; i++) raw[i] = (i >> 9) ^ (i % 7);
    bench.put("disk.raw", raw);
    for (const clusterSizeBytes of [512, 4096, 65536, 2 * MIB]) {
      const name = `packed-${clusterSizeBytes}.qcow2`;
      const options = `cluster_size=${clusterSizeBytes}`;
      qemuImg("convert", "-c", "-O", "qcow2", "-o", options, bench.path("disk.raw"), bench.path(name));
      const device = await openWith(name);
      expect(Buffer.compare(await guestBytes(device), raw)).toBe(0);
      await device.close();
      const model = raw.slice();
      await change(name, [], async (writable) => {
        for (let offset = 1000; offset < raw.length - 5000; offset += 100_003) {
          const data = new Uint8Array(3000).fill(offset % 251);
          await writable.write(offset, data);
          model.set(data, offset);
        }
      });
      bench.check(name);
      expect(Buffer.compare(bench.guestBytes(name), model)).toBe(0);
    }
  });

  test("clusters compressed here are read there", async () => {
    for (const clusterSizeBytes of [512, 4096, 65536]) {
      const file = createMemoryFile({ name: "ours.qcow2" });
      const sizeBytes = 2 * MIB;
      await createQcow2(file, { sizeBytes, clusterSizeBytes });
      const device = await openQcow2(file);
      const model = new Uint8Array(sizeBytes);
      for (let offset = 0; offset < sizeBytes; offset += clusterSizeBytes) {
        const cluster = new Uint8Array(clusterSizeBytes);
        for (let i = 0; i < cluster.length; i++) cluster[i] = (offset / 512 + (i >> 5)) & 0xff;
        await device.writeCompressed(offset, cluster, 9);
        model.set(cluster, offset);
      }
      await device.flush();
      bench.put("ours.qcow2", file.toBytes());
      await device.close();
      bench.check("ours.qcow2");
      expect(Buffer.compare(bench.guestBytes("ours.qcow2"), model)).toBe(0);
      expect(file.sizeBytes).toBeLessThan(sizeBytes);
    }
  });

  test("zero clusters, with and without a cluster in reserve, read as zeros and take writes", async () => {
    createWithQemu("zero.qcow2", "4M", "compat=1.1");
    qemuIo(bench.path("zero.qcow2"), [
      "write -P 9 0 2M",
      "write -z 64k 128k",
      "write -zu 512k 128k",
      "write -z 1M 64k",
    ]);
    const model = bench.guestBytes("zero.qcow2");
    await change("zero.qcow2", [], async (device) => {
      expect(Buffer.compare(await guestBytes(device), model)).toBe(0);
      for (const offset of [70_000, 600_000, MIB]) {
        await device.write(offset, new Uint8Array(1000).fill(5));
        model.fill(5, offset, offset + 1000);
      }
    });
    bench.check("zero.qcow2");
    expect(Buffer.compare(bench.guestBytes("zero.qcow2"), model)).toBe(0);
  });

  test("preallocated metadata and lazy refcounts are written right", async () => {
    createWithQemu("pre.qcow2", "8M", "preallocation=metadata,lazy_refcounts=on");
    await change("pre.qcow2", [], async (device) => {
      await device.write(3 * MIB + 5, new Uint8Array(100_000).fill(3));
    });
    bench.check("pre.qcow2");
    qemuIo(bench.path("pre.qcow2"), ["read -P 3 3146240 99000", "read -P 0 0 3M"]);
  });

  test("a write copies what an internal snapshot shares", async () => {
    createWithQemu("snap.qcow2", "16M", "compat=1.1,cluster_size=4096");
    qemuIo(bench.path("snap.qcow2"), ["write -P 7 0 4M"]);
    qemuImg("snapshot", "-c", "before", bench.path("snap.qcow2"));
    const before = bench.guestBytes("snap.qcow2");
    const model = before.slice();
    await change("snap.qcow2", [], async (device) => {
      expect(device.info.snapshotCount).toBe(1);
      for (const offset of [10, 1_000_000, 3_999_999, 9_000_000]) {
        await device.write(offset, new Uint8Array(9000).fill(8));
        model.fill(8, offset, offset + 9000);
      }
      // A second write to the same place is made in the copy.
      await device.write(10, new Uint8Array(10).fill(9));
      model.fill(9, 10, 20);
    });
    bench.check("snap.qcow2");
    expect(Buffer.compare(bench.guestBytes("snap.qcow2"), model)).toBe(0);
    expect(Buffer.compare(bench.guestBytes("snap.qcow2", ["-l", "before"]), before)).toBe(0);
    qemuImg("snapshot", "-d", "before", bench.path("snap.qcow2"));
    bench.check("snap.qcow2");
  });

  test.each([
    { what: "as long as", baseSize: 4 * MIB, topSize: "4M" },
    { what: "shorter than", baseSize: MIB + 512, topSize: "4M" },
    { what: "longer than", baseSize: 6 * MIB, topSize: "4M" },
  ])("a chain over a raw base $what its overlay", async ({ baseSize, topSize }) => {
    const base = new Uint8Array(baseSize);
    for (let i = 0; i < base.length; i++) base[i] = (i >> 10) ^ (i % 13);
    bench.put("base.raw", base);
    createWithQemu("middle.qcow2", topSize, "cluster_size=4096", "-b", "base.raw", "-F", "raw");
    qemuIo(bench.path("middle.qcow2"), ["write -P 0x61 1044480 8192"]);
    createWithQemu("top.qcow2", topSize, "cluster_size=65536", "-b", "middle.qcow2", "-F", "qcow2");
    const model = bench.guestBytes("top.qcow2");
    await change("top.qcow2", ["middle.qcow2", "base.raw"], async (device) => {
      expect(Buffer.compare(await guestBytes(device), model)).toBe(0);
      for (const offset of [3, 1_048_000, 2 * MIB + 100]) {
        await device.write(offset, new Uint8Array(777).fill(0x62));
        model.fill(0x62, offset, offset + 777);
      }
      expect(Buffer.compare(await guestBytes(device), model)).toBe(0);
    });
    bench.check("top.qcow2");
    expect(Buffer.compare(bench.guestBytes("top.qcow2"), model)).toBe(0);
  });

  test("an overlay made here is an overlay there", async () => {
    createWithQemu("base.qcow2", "4M", "compat=1.1");
    qemuIo(bench.path("base.qcow2"), ["write -P 4 0 1M"]);
    const file = createMemoryFile({ name: "overlay.qcow2" });
    await createQcow2(file, { sizeBytes: 4 * MIB, backing: { name: "base.qcow2", format: "qcow2" } });
    bench.put("overlay.qcow2", file.toBytes());
    const info = JSON.parse(qemuImg("info", "--output=json", bench.path("overlay.qcow2")));
    expect(info).toMatchObject({ "backing-filename": "base.qcow2", "backing-filename-format": "qcow2" });
    await change("overlay.qcow2", ["base.qcow2"], (device) => device.write(100, new Uint8Array(50).fill(6)));
    bench.check("overlay.qcow2");
    qemuIo(bench.path("overlay.qcow2"), ["read -P 4 512 1048064"]);
    expect([...bench.guestBytes("overlay.qcow2").subarray(99, 151)]).toEqual([4, ...Array(50).fill(6), 4]);
  });

  test("the refcount table grows, and what held it is free again", async () => {
    const file = createMemoryFile({ name: "grow.qcow2" });
    // One table cluster of 64 entries, 64 counts a block: full after 4096 clusters of 512 bytes.
    await createQcow2(file, { sizeBytes: 8 * MIB, clusterSizeBytes: 512, refcountBits: 64 });
    const device = await openQcow2(file);
    const model = new Uint8Array(8 * MIB);
    for (let i = 0; i < model.length; i++) model[i] = (i * 31) >> 7;
    for (let offset = 0; offset < model.length; offset += 65536)
      await device.write(offset, model.subarray(offset, offset + 65536));
    await device.flush();
    bench.put("grow.qcow2", file.toBytes());
    await device.close();
    bench.check("grow.qcow2");
    expect(Buffer.compare(bench.guestBytes("grow.qcow2"), model)).toBe(0);
  });
});
