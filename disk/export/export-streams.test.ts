import { describe, expect, test } from "vitest";
import { metadataOf, withMetadata } from "../appliance/header-metadata.ts";
import { createMemoryFile } from "../files/memory-file.ts";
import { checkQcow2 } from "../qcow2/check.ts";
import { zlibCodec } from "../qcow2/compression.ts";
import { type CreateQcow2Options, createQcow2 } from "../qcow2/create.ts";
import { openQcow2 } from "../qcow2/open.ts";
import type { Qcow2Device } from "../qcow2/qcow2-device.ts";
import { UNFINISHED_SNAPSHOT } from "../qcow2/saved-state.ts";
import { expectError, expectSameBytes } from "../testing/block-file-suite.ts";
import { createColdFile } from "../testing/cold-file.ts";
import { randomBytes } from "../testing/random-bytes.ts";
import type { PackCluster } from "./cluster-packer.ts";
import { type ExportImageOptions, exportImage } from "./export-image.ts";

const CLUSTER = 65536;
const MIB = 1024 * 1024;

async function newDevice(
  options: Partial<CreateQcow2Options> = {},
  base?: Qcow2Device,
): Promise<Qcow2Device> {
  const file = createMemoryFile({ name: "disk.qcow2" });
  const backing = base && { backing: { name: "base", format: "qcow2" } };
  await createQcow2(file, { sizeBytes: 4 * MIB, ...options, ...backing });
  return await openQcow2(file, {
    writable: true,
    ...(base && { resolveBacking: async () => base.image.file }),
  });
}

async function exported(device: Qcow2Device, options: ExportImageOptions = {}): Promise<Qcow2Device> {
  const pieces: Uint8Array<ArrayBuffer>[] = [];
  await exportImage(device, async (piece) => void pieces.push(piece), options);
  const content = new Uint8Array(await new Blob(pieces).arrayBuffer());
  return await openQcow2(createMemoryFile({ name: "copy", content }), { writable: true });
}

async function bytesOf(device: Qcow2Device): Promise<Uint8Array> {
  const bytes = new Uint8Array(device.sizeBytes).fill(0xa5);
  await device.read(0, bytes);
  return bytes;
}

/** Bytes that pack to about half. */
function halfRandom(lengthBytes: number): Uint8Array {
  return randomBytes(lengthBytes).map((byte) => byte & 15);
}

describe("the stream of an export", () => {
  test("is closed at the end, and told how far it is on the way", async () => {
    const device = await newDevice();
    await device.write(0, randomBytes(3 * MIB));
    const arrived: Uint8Array[] = [];
    let isClosed = false;
    const stream = new WritableStream<Uint8Array>({
      write: (piece) => void arrived.push(piece),
      close() {
        isClosed = true;
      },
    });
    const fractions: number[] = [];
    const { sizeBytes } = await exportImage(device, stream, { onProgress: (done) => fractions.push(done) });
    expect(isClosed).toBe(true);
    expect(arrived.reduce((sum, { length }) => sum + length, 0)).toBe(sizeBytes);
    expect(fractions.length).toBeGreaterThan(10);
    expect(fractions).toEqual([...fractions].sort((a, b) => a - b));
    expect(fractions.at(-1)).toBe(1);
  });

  test.each([0, 1, 3])("is aborted when it is cancelled after %i pieces", async (after) => {
    const device = await newDevice();
    await device.write(0, randomBytes(4 * MIB));
    const controller = new AbortController();
    if (after === 0) controller.abort();
    let pieces = 0;
    let aborted: unknown;
    const stream = new WritableStream<Uint8Array>({
      write() {
        if (++pieces === after) controller.abort();
      },
      abort(reason) {
        aborted = reason;
      },
    });
    const error = await expectError("CANCELLED", () =>
      exportImage(device, stream, { signal: controller.signal }),
    );
    expect(aborted).toBe(error);
    expect(pieces).toBeLessThanOrEqual(after + 1);
    // The device is as usable as before.
    expectSameBytes(await bytesOf(await exported(device)), await bytesOf(device));
  });

  test("is held up by a sink that takes its time", async () => {
    const device = await newDevice();
    await device.write(0, randomBytes(4 * MIB));
    let waiting = 0;
    await exportImage(device, async () => {
      expect(++waiting).toBe(1);
      await new Promise((resolve) => setTimeout(resolve, 5));
      waiting--;
    });
  });

  test("ends with what the sink throws", async () => {
    const device = await newDevice();
    await device.write(0, randomBytes(2 * MIB));
    const failure = new Error("The stick was pulled out.");
    await expect(exportImage(device, () => Promise.reject(failure))).rejects.toBe(failure);
    const stream = new WritableStream<Uint8Array>({
      write() {
        throw failure;
      },
    });
    await expect(exportImage(device, stream)).rejects.toBe(failure);
  });

  test("ends with what reading the disk meets", async () => {
    const source = await newDevice();
    await source.write(0, randomBytes(4 * MIB));
    await source.flush();
    const content = new Uint8Array(source.image.file.sizeBytes);
    await source.image.file.read(0, content);
    const file = createColdFile(content, { capacityPieces: 256 });
    const device = await openQcow2(file, { writable: false });
    const failure = new Error("The cable was pulled out.");
    const sink = async () => {
      file.failure = failure;
    };
    await expect(exportImage(device, sink)).rejects.toBe(failure);
  });
});

describe("an exported image", () => {
  test("has a whole disk of nothing in little more than its tables", async () => {
    const device = await newDevice({ sizeBytes: 2 ** 40 });
    await device.write(2 ** 39 + 5, Uint8Array.of(1, 2, 3));
    const copy = await exported(device, { compress: true });
    expect(copy.sizeBytes).toBe(2 ** 40);
    expect(copy.image.file.sizeBytes).toBeLessThan(8 * CLUSTER);
    const bytes = new Uint8Array(5);
    await copy.read(2 ** 39 + 4, bytes);
    expect([...bytes]).toEqual([0, 1, 2, 3, 0]);
  });

  test("of an empty disk is one", async () => {
    const copy = await exported(await newDevice({ sizeBytes: 0 }));
    expect(copy.sizeBytes).toBe(0);
    expect(await checkQcow2(copy.image.file)).toMatchObject({ corruptions: 0, leaks: 0 });
  });

  test("packs what it is told to, keeps what it is not, and unpacks", async () => {
    const device = await newDevice();
    const content = halfRandom(4 * MIB);
    for (let at = 0; at < 2 * MIB; at += CLUSTER)
      await device.writeCompressed(at, content.subarray(at, at + CLUSTER));
    await device.write(2 * MIB, content.subarray(2 * MIB));
    const sizes = await Promise.all(
      [true, undefined, false].map(async (compress) => {
        const copy = await exported(device, compress === undefined ? {} : { compress });
        expectSameBytes(await bytesOf(copy), content);
        return copy.image.file.sizeBytes;
      }),
    );
    const [packed = 0, asItIs = 0, plain = 0] = sizes;
    expect(plain).toBeGreaterThan(4 * MIB);
    expect(asItIs).toBeLessThan(3.4 * MIB);
    expect(packed).toBeLessThan(2.7 * MIB);
  });

  test("does not grow from copy to copy, nor carries what lay beside packed data", async () => {
    const device = await newDevice();
    for (let at = 0; at < 4 * MIB; at += CLUSTER)
      await device.writeCompressed(at, halfRandom(CLUSTER).fill(0, 2000 + (at % 7001)));
    const secret = new TextEncoder().encode("what nobody is to read any more ");
    // Packed after another, so in its last sector; then let go of, which leaves the bytes where they were.
    const first = await exported(device);
    const second = await exported(first);
    const third = await exported(second);
    expect(second.image.file.sizeBytes).toBe(first.image.file.sizeBytes);
    expect(third.image.file.sizeBytes).toBe(first.image.file.sizeBytes);
    expectSameBytes(await bytesOf(third), await bytesOf(device));

    const packed = zlibCodec.compress(halfRandom(CLUSTER).fill(0, 3000)) ?? new Uint8Array();
    const other = await newDevice();
    await other.writePacked(0, new Uint8Array([...packed, ...secret]));
    const file = (await exported(other)).image.file;
    const bytes = new Uint8Array(file.sizeBytes);
    await file.read(0, bytes);
    expect(Buffer.from(bytes).includes(Buffer.from(packed))).toBe(true);
    expect(Buffer.from(bytes).includes(Buffer.from(secret))).toBe(false);
  });

  test("stores once what its snapshots share", async () => {
    const device = await newDevice();
    await device.write(0, randomBytes(3 * MIB));
    const state = randomBytes(2 * MIB);
    await device.writeVmState(0, state);
    await device.createSnapshot({ name: "a", vmStateBytes: state.length });
    await device.applySnapshot("a");
    await device.createSnapshot({ name: "b", vmStateBytes: state.length });
    await device.write(0, randomBytes(CLUSTER));
    const copy = await exported(device, { snapshots: "all", compress: true });
    // Disk and state once, and the one cluster that differs; with tables.
    expect(copy.image.file.sizeBytes).toBeLessThan(5 * MIB + 20 * CLUSTER);
    expect((await copy.snapshotUsage("b")).stateSharedBytes).toBeGreaterThanOrEqual(2 * MIB);
    expect(await checkQcow2(copy.image.file)).toMatchObject({ corruptions: 0, leaks: 0 });
    for (const name of ["a", "b"]) {
      const read = new Uint8Array(state.length);
      await (await copy.openState(name)).read(0, read);
      expectSameBytes(read, state);
    }
  });

  test("of a snapshot is as the snapshot, whatever the guest writes meanwhile", async () => {
    const device = await newDevice();
    await device.write(0, halfRandom(4 * MIB));
    const content = await bytesOf(device);
    await device.createSnapshot({ name: "now" });
    const pieces: Uint8Array<ArrayBuffer>[] = [];
    let at = 0;
    await exportImage(
      device,
      async (piece) => {
        pieces.push(piece);
        at += 300_000;
        await device.write(at, randomBytes(CLUSTER));
      },
      { disk: "now", compress: true, pack: packAndWriteTo(device) },
    );
    const copied = new Uint8Array(await new Blob(pieces).arrayBuffer());
    const copy = await openQcow2(createMemoryFile({ content: copied }), { writable: false });
    expectSameBytes(await bytesOf(copy), content);
    expect(copy.snapshots).toEqual([]);
  });

  test("packs several clusters at once elsewhere", async () => {
    const device = await newDevice();
    const content = halfRandom(4 * MIB);
    await device.write(0, content);
    let now = 0;
    let most = 0;
    const copy = await exported(device, {
      compress: true,
      async pack(cluster, compression) {
        expect(compression).toBe("zlib");
        most = Math.max(most, ++now);
        await new Promise((resolve) => setTimeout(resolve));
        now--;
        return zlibCodec.compress(cluster);
      },
    });
    expect(most).toBeGreaterThan(3);
    expectSameBytes(await bytesOf(copy), content);
  });
});

describe("an export refuses", () => {
  test("a disk that is written to meanwhile", async () => {
    const device = await newDevice();
    await device.write(0, halfRandom(2 * MIB));
    for (let at = 2 * MIB; at < 4 * MIB; at += CLUSTER) await device.writeCompressed(at, halfRandom(CLUSTER));
    const sink = async () => {
      for (let at = 2 * MIB; at < 4 * MIB; at += CLUSTER) await device.write(at, randomBytes(512));
    };
    const error = await expectError("FILE_CHANGED", () => exportImage(device, sink));
    expect(error.message).toContain("export a snapshot");
  });

  test("a snapshot that is not there, or goes meanwhile", async () => {
    const device = await newDevice();
    await device.write(0, randomBytes(4 * MIB));
    await device.createSnapshot({ name: "a" });
    await expectError("SNAPSHOT_NOT_FOUND", () => exported(device, { snapshots: ["b"] }));
    await expectError("SNAPSHOT_NOT_FOUND", () => exported(device, { disk: "b" }));
    for (const options of [{ snapshots: ["a"] }, { disk: "a" }]) {
      if (device.snapshots.length === 0) await device.createSnapshot({ name: "a" });
      const sink = () => (device.snapshots.length > 0 ? device.deleteSnapshot("a") : Promise.resolve());
      await expectError("SNAPSHOT_NOT_FOUND", () => exportImage(device, sink, options));
    }
  });

  test("packed data that is damaged, rather than to hand it on", async () => {
    const device = await newDevice();
    await device.writePacked(CLUSTER, randomBytes(5000).fill(0xff));
    await expectError("CORRUPT", () => exported(device));
  });

  test("no save that never ended", async () => {
    const device = await newDevice();
    await device.createSnapshot({ name: "a" });
    await device.createSnapshot({ name: UNFINISHED_SNAPSHOT });
    expect((await exported(device, { snapshots: "all" })).snapshots.map(({ name }) => name)).toEqual(["a"]);
  });
});

describe("what an exported image says of itself", () => {
  const says = ({ header, name }: Qcow2Device) => Object.fromEntries(metadataOf(header, name));

  async function saying(pairs: Record<string, string>, base?: Qcow2Device): Promise<Qcow2Device> {
    const device = await newDevice({}, base);
    const metadata = new Map(Object.entries(pairs));
    await device.changeHeader({
      extensions: (present) => withMetadata(device.header, present, metadata, device.name),
    });
    return device;
  }

  test("is what the image says, or else what is behind it", async () => {
    const base = await saying({ "appliance.name": "Base" });
    expect(says(await exported(base))).toEqual({ "appliance.name": "Base" });
    const overlay = await newDevice({}, base);
    expect(says(await exported(overlay))).toEqual({ "appliance.name": "Base" });
    const other = await saying({ "appliance.name": "Mine" }, base);
    expect(says(await exported(other))).toEqual({ "appliance.name": "Mine" });
    expect(says(await exported(other, { metadata: new Map([["x", "y"]]) }))).toEqual({ x: "y" });
    expect(says(await exported(await newDevice()))).toEqual({});
  });

  test("must fit into its first cluster", async () => {
    const base = await saying({ "appliance.name": "Base" });
    const overlay = await newDevice({ clusterSizeBytes: 1024 }, base);
    await expectError("METADATA_TOO_LARGE", () => exported(overlay));
    expect(says(await exported(overlay, { metadata: new Map() }))).toEqual({});
  });

  test("names no snapshot to start from that does not come along", async () => {
    const device = await saying({ "appliance.name": "A", "machine.snapshot": "ready" });
    await device.createSnapshot({ name: "ready" });
    expect(says(await exported(device))).toEqual({ "appliance.name": "A" });
    expect(says(await exported(device, { snapshots: "all" }))["machine.snapshot"]).toBe("ready");
  });
});

/** Packs, and lets the guest write before it answers. */
function packAndWriteTo(device: Qcow2Device): PackCluster {
  return async (cluster) => {
    await device.write(Math.floor(Math.random() * 63) * CLUSTER, randomBytes(512));
    return zlibCodec.compress(cluster);
  };
}
