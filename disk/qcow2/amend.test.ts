import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { createMemoryFile, type MemoryFile } from "../files/memory-file.ts";
import { createColdFile } from "../testing/cold-file.ts";
import { Bench, hasQemu, qemuImg, qemuIo } from "../testing/qemu.ts";
import { type CreateQcow2Options, createQcow2 } from "./create.ts";
import { openQcow2 } from "./open.ts";
import type { Qcow2Device } from "./qcow2-device.ts";

const KIB = 1024;
const MIB = 1024 * KIB;

describe.skipIf(!hasQemu)("an image changed in place", () => {
  let bench: Bench;
  beforeEach(() => {
    bench = new Bench();
  });
  afterEach(() => bench.remove());

  const bases: Record<string, Uint8Array> = {};

  async function make(options: Partial<CreateQcow2Options> = {}, sizeBytes = 4 * MIB) {
    const made = createMemoryFile({ name: "disk.qcow2" });
    await createQcow2(made, { sizeBytes, ...options });
    const file = createColdFile(made.toBytes(), { transactional: false, capacityPieces: 600 });
    return { file, device: await openHere(file) };
  }

  function openHere(file: Parameters<typeof openQcow2>[0]): Promise<Qcow2Device> {
    return openQcow2(file, {
      resolveBacking: async ({ name }) =>
        createMemoryFile({ name, content: bases[name] ?? new Uint8Array(0), writable: false }),
    });
  }

  function put(file: { toBytes(): Uint8Array }): string {
    const path = bench.put("disk.qcow2", file.toBytes());
    bench.check("disk.qcow2");
    return path;
  }

  async function bytesOf(device: Qcow2Device): Promise<Uint8Array> {
    const bytes = new Uint8Array(device.sizeBytes);
    await device.read(0, bytes);
    return bytes;
  }

  /** Both programs read these bytes. */
  async function expectBytes(file: { toBytes(): Uint8Array }, device: Qcow2Device, model: Uint8Array) {
    await device.flush();
    put(file);
    expect(Buffer.compare(await bytesOf(device), model)).toBe(0);
    expect(Buffer.compare(bench.guestBytes("disk.qcow2"), model)).toBe(0);
  }

  function base(name: string, sizeBytes: number): void {
    bases[name] = new Uint8Array(sizeBytes).fill(0xb);
    bench.put(name, bases[name] as Uint8Array);
  }

  function grown(model: Uint8Array, sizeBytes: number): Uint8Array {
    const longer = new Uint8Array(sizeBytes);
    longer.set(model.subarray(0, sizeBytes));
    return longer;
  }

  test.each([
    ["the usual shape", {}],
    ["version 2", { version: 2 }],
    ["small clusters", { clusterSizeBytes: 512 }],
    ["subclusters", { extendedL2: true, clusterSizeBytes: 16 * KIB }],
  ] as const)("grows and shrinks (%s)", async (_name, options) => {
    const { file, device } = await make(options);
    await device.write(0, new Uint8Array(4 * MIB).fill(1));
    let model: Uint8Array = new Uint8Array(4 * MIB).fill(1);
    for (const sizeBytes of [
      4 * MIB + 512,
      40 * MIB,
      40 * MIB - 512 * 3,
      3 * MIB + 512,
      9 * MIB,
      512,
      4 * MIB,
    ]) {
      await device.resize(sizeBytes, { shrink: true });
      model = grown(model, sizeBytes);
      await expectBytes(file, device, model);
      const at = Math.max(0, sizeBytes - 1000);
      await device.write(at, new Uint8Array(sizeBytes - at).fill(sizeBytes % 251));
      model.fill(sizeBytes % 251, at);
    }
    await expectBytes(file, device, model);
    // Shrinking lets go of what is cut off.
    await device.resize(512, { shrink: true });
    const report = qemuImg("check", "--output=json", put(file));
    expect(JSON.parse(report)["allocated-clusters"]).toBe(1);
  });

  test("does not show what a longer backing file has past its old end", async () => {
    base("base.raw", 3 * MIB + 1000);
    for (const version of [2, 3] as const) {
      const { file, device } = await make(
        { version, backing: { name: "base.raw", format: "raw" } },
        MIB + 512,
      );
      await device.resize(8 * MIB);
      const model = grown(new Uint8Array(MIB + 512).fill(0xb), 8 * MIB);
      await expectBytes(file, device, model);
    }
  });

  test("does not show subclusters that lie past its old end", async () => {
    const { file, device } = await make({ extendedL2: true, clusterSizeBytes: 2 * MIB });
    await device.write(0, new Uint8Array(2 * MIB).fill(7));
    await device.resize(MIB + 512, { shrink: true });
    // The subcluster at the end is one of zeros, those past it are not.
    await device.writeZeroes(MIB, 512);
    await device.resize(2 * MIB);
    const model = new Uint8Array(2 * MIB).fill(7, 0, MIB);
    await expectBytes(file, device, model);
  });

  test("keeps what its last cluster has when it grows within it", async () => {
    for (const extendedL2 of [false, true]) {
      const { file, device } = await make({ clusterSizeBytes: 2 * MIB, extendedL2 }, 2 * MIB + 3584);
      await device.writeCompressed(2 * MIB, new Uint8Array(2 * MIB).fill(29));
      await device.resize(2 * MIB + 512 * 1000);
      const model = new Uint8Array(2 * MIB + 512 * 1000).fill(29, 2 * MIB, 2 * MIB + 3584);
      await expectBytes(file, device, model);
    }
  });

  test("does not show VM state that lies past its old end", async () => {
    const { file, device } = await make({}, 100 * MIB);
    // As after applying a snapshot with VM state: clusters past the end of the disk, in the active tables.
    await device.resize(600 * MIB);
    await device.write(550 * MIB, new Uint8Array(MIB).fill(7));
    const bytes = createMemoryFile({ name: "disk.qcow2", content: (await flushed(device, file)).toBytes() });
    const size = new Uint8Array(8);
    new DataView(size.buffer).setBigUint64(0, BigInt(100 * MIB));
    bytes.write(24, size);
    const again = await openQcow2(bytes);
    expect(again.sizeBytes).toBe(100 * MIB);
    await again.resize(600 * MIB);
    const read = new Uint8Array(MIB).fill(9);
    await again.read(550 * MIB, read);
    expect(read.every((byte) => byte === 0)).toBe(true);
    await again.flush();
    put(bytes);
  });

  async function flushed<File>(device: Qcow2Device, file: File): Promise<File> {
    await device.flush();
    return file;
  }

  test("refuses to shrink unasked, sizes that are none, and version 2 with snapshots", async () => {
    const { device } = await make({ version: 2 });
    await expect(device.resize(MIB)).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    await expect(device.resize(1000)).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    await device.createSnapshot({ name: "one" });
    await expect(device.resize(8 * MIB)).rejects.toMatchObject({ code: "UNSUPPORTED_FEATURE" });
    const { device: small } = await make({ clusterSizeBytes: 512 });
    await expect(small.resize(2 ** 50)).rejects.toMatchObject({ code: "TOO_LARGE" });
  });

  test.each(["metadata", "falloc", "full"] as const)("is given room (%s)", async (preallocation) => {
    const { file, device } = await make({ preallocation, clusterSizeBytes: 4096 });
    await expectBytes(file, device, new Uint8Array(4 * MIB));
    expect((await device.blockStatus(0, 4 * MIB)).data).toBe(true);
    await device.resize(6 * MIB, { preallocation });
    await device.write(100, new Uint8Array(5000).fill(3));
    const model = new Uint8Array(6 * MIB);
    model.fill(3, 100, 5100);
    await expectBytes(file, device, model);
    expect((await device.blockStatus(4 * MIB, 2 * MIB)).allocated).toBe(true);
  });

  test.each([2, 3] as const)(
    "given room while it is encrypted reads as zeros (version %i)",
    async (version) => {
      for (const preallocation of ["metadata", "full"] as const) {
        const file = createMemoryFile({ name: "disk.qcow2" });
        await createQcow2(file, { sizeBytes: MIB, version, preallocation, encryption: { password: "p" } });
        const device = await openQcow2(file, { password: "p" });
        expect((await bytesOf(device)).every((byte) => byte === 0)).toBe(true);
        const path = bench.put("disk.qcow2", file.toBytes());
        const spec = `driver=qcow2,encrypt.key-secret=s,file.filename=${path}`;
        qemuIo(spec, ["read -P 0 0 1M"], ["--object", "secret,id=s,data=p", "--image-opts"]);
      }
    },
  );

  test.each(["metadata", "falloc", "full"] as const)(
    "given room with subclusters shows what is behind it (%s)",
    async (preallocation) => {
      base("base.raw", MIB);
      const backing = { name: "base.raw", format: "raw" };
      const { file, device } = await make({ preallocation, extendedL2: true, backing });
      await expectBytes(file, device, grown(bases["base.raw"] as Uint8Array, 4 * MIB));
    },
  );

  test.each([1, 2, 4, 8, 16, 32, 64])("takes refcounts of %i bits", async (refcountBits) => {
    const { file, device } = await make({ clusterSizeBytes: 4096 });
    await device.write(10_000, new Uint8Array(1_000_000).fill(1));
    const model = await bytesOf(device);
    await device.amend({ refcountBits });
    await expectBytes(file, device, model);
    await device.write(0, new Uint8Array(3 * MIB).fill(2));
    model.fill(2, 0, 3 * MIB);
    await expectBytes(file, device, model);
    expect(qemuImg("info", bench.path("disk.qcow2"))).toContain(`refcount bits: ${refcountBits}`);
  });

  test("keeps its refcounts wide enough for its snapshots", async () => {
    const { file, device } = await make({ clusterSizeBytes: 4096 });
    await device.write(0, new Uint8Array(10_000).fill(1));
    await device.createSnapshot({ name: "one" });
    await expect(device.amend({ refcountBits: 1 })).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    await device.amend({ refcountBits: 2 });
    await device.flush();
    put(file);
  });

  test("goes from version 2 to 3 and back", async () => {
    base("base.raw", 2 * MIB);
    for (const backing of [undefined, { name: "base.raw", format: "raw" }]) {
      const { file, device } = await make({ version: 2, ...(backing && { backing }) });
      await device.write(100_000, new Uint8Array(500_000).fill(1));
      const model = await bytesOf(device);
      await device.amend({ version: 3, lazyRefcounts: true });
      await device.writeZeroes(0, 300_000);
      await device.writeZeroes(3 * MIB, 300_000, { unmap: true });
      model.fill(0, 0, 300_000);
      model.fill(0, 3 * MIB, 3 * MIB + 300_000);
      await expectBytes(file, device, model);
      expect(qemuImg("info", bench.path("disk.qcow2"))).toContain("lazy refcounts: true");
      await device.amend({ version: 2 });
      await expectBytes(file, device, model);
      expect(qemuImg("info", bench.path("disk.qcow2"))).toContain("compat: 0.10");
      await device.write(0, new Uint8Array(10).fill(5));
      model.fill(5, 0, 10);
      await expectBytes(file, device, model);
    }
  });

  test("does not become version 2 with what version 2 cannot hold", async () => {
    for (const options of [{ extendedL2: true }, { compression: "zstd" as const }]) {
      const { device } = await make(options);
      await expect(device.amend({ version: 2 })).rejects.toMatchObject({ code: "UNSUPPORTED_FEATURE" });
    }
    const { device } = await make({ refcountBits: 8 });
    await expect(device.amend({ version: 2 })).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    await device.amend({ version: 2, refcountBits: 16 });
    expect(device.info.version).toBe(2);
  });

  test("names another backing file, and keeps extensions that are not known", async () => {
    base("a.raw", 1000);
    base("b.raw", 1000);
    const unknown = { magic: 0xcafe_f00d, data: Uint8Array.of(1, 2, 3) };
    const { file, device } = await make({ backing: { name: "a.raw", format: "raw" }, extensions: [unknown] });
    await device.changeHeader({ backing: { name: "b.raw", format: "raw" } });
    put(file);
    expect(qemuImg("info", bench.path("disk.qcow2"))).toContain("backing file: b.raw");
    expect(device.header.extensions).toContainEqual(unknown);
    await device.changeHeader({ backing: null });
    put(file);
    expect(device.header.extensions).toContainEqual(unknown);
    expect(device.header.backingName).toBeUndefined();
    await expect(
      device.changeHeader({ extensions: (list) => [...list, { magic: 5, data: new Uint8Array(70_000) }] }),
    ).rejects.toMatchObject({ code: "TOO_LARGE" });
  });

  test("made empty shows what is behind it, and gives its room back", async () => {
    base("base.raw", MIB);
    const { file, device } = await make({ backing: { name: "base.raw", format: "raw" } });
    await device.write(0, new Uint8Array(3 * MIB).fill(1));
    await device.makeEmpty();
    await expectBytes(file, device, grown(bases["base.raw"] as Uint8Array, 4 * MIB));
    expect(file.sizeBytes).toBeLessThan(MIB);
  });

  test("of 1 PiB opens, reads and is written without room for it", async () => {
    const file: MemoryFile = createMemoryFile({ name: "huge.qcow2" });
    await createQcow2(file, { sizeBytes: 2 ** 50, clusterSizeBytes: 2 * MIB });
    const device = await openQcow2(file);
    await device.write(2 ** 50 - 1000, new Uint8Array(1000).fill(1));
    const read = new Uint8Array(2000);
    await device.read(2 ** 50 - 2000, read);
    expect([read[0], read[999], read[1000], read[1999]]).toEqual([0, 0, 1, 1]);
    expect((await device.blockStatus(0, 2 ** 49)).allocated).toBe(false);
    await device.flush();
    const path = bench.put("huge.qcow2", file.toBytes());
    bench.check("huge.qcow2");
    qemuIo(path, [`read -P 1 ${2 ** 50 - 512} 512`]);
  });
});
