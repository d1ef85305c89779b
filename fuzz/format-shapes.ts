import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { encodeMetadata, METADATA_MAGIC } from "../disk/appliance/metadata.ts";
import { type CreateQcow2Options, createMemoryFile, createQcow2, openQcow2 } from "../disk/index.ts";
import { Bench, hasQemu, qemuImg, qemuIo } from "../disk/testing/qemu.ts";
import { createRandom } from "./random.ts";

/** A valid image to start from. */
export interface Shape {
  readonly name: string;
  readonly image: Uint8Array;
  readonly password: string | undefined;
  /** What the image's backing names mean. Others are refused. */
  readonly backing: Readonly<Record<string, Uint8Array>>;
}

interface SavedShape {
  name: string;
  password?: string;
  backing: string[];
}

const INDEX = "shapes.json";
const PASSWORD = "secret";

/** Makes images of as many kinds as there are, and saves them for the processes that run the cases. */
export async function buildShapes(folder: string): Promise<void> {
  mkdirSync(folder, { recursive: true });
  const saved: SavedShape[] = [];
  for (const { name, image, password, backing } of [...(await buildOurs()), ...buildQemus()]) {
    writeFileSync(join(folder, `${name}.qcow2`), image);
    for (const [backingName, bytes] of Object.entries(backing))
      writeFileSync(join(folder, backingName), bytes);
    saved.push({ name, ...(password !== undefined && { password }), backing: Object.keys(backing) });
  }
  writeFileSync(join(folder, INDEX), JSON.stringify(saved));
}

export function loadShapes(folder: string): Shape[] {
  const bytesOf = (name: string) => new Uint8Array(readFileSync(join(folder, name)));
  const saved = JSON.parse(readFileSync(join(folder, INDEX), "utf8")) as SavedShape[];
  return saved.map(({ name, password, backing }) => ({
    name,
    image: bytesOf(`${name}.qcow2`),
    password,
    backing: Object.fromEntries(backing.map((backingName) => [backingName, bytesOf(backingName)])),
  }));
}

/** Data that neither is all one value nor takes long to make. */
function pattern(lengthBytes: number, seed: number): Uint8Array {
  const bytes = new Uint8Array(lengthBytes);
  for (let i = 0; i < lengthBytes; i++) bytes[i] = (i >> 6) * seed + (i % 7);
  return bytes;
}

/** What our own driver makes, so that the fuzzer has something to do where there is no QEMU. */
async function buildOurs(): Promise<Shape[]> {
  const shapes: Shape[] = [];
  const kinds: { name: string; options: Omit<CreateQcow2Options, "sizeBytes"> }[] = [
    { name: "v2", options: { version: 2, clusterSizeBytes: 4096 } },
    { name: "512-1", options: { clusterSizeBytes: 512, refcountBits: 1 } },
    { name: "512-64", options: { clusterSizeBytes: 512, refcountBits: 64 } },
    { name: "4k-4", options: { clusterSizeBytes: 4096, refcountBits: 4, lazyRefcounts: true } },
    { name: "64k", options: {} },
    { name: "zstd", options: { clusterSizeBytes: 4096, compression: "zstd" } },
    { name: "extended", options: { clusterSizeBytes: 16384, extendedL2: true } },
    { name: "aes", options: { clusterSizeBytes: 4096, encryption: { password: PASSWORD } } },
    { name: "preallocated", options: { clusterSizeBytes: 4096, preallocation: "metadata" } },
    {
      name: "extensions",
      options: {
        clusterSizeBytes: 4096,
        extensions: [metadata(), { magic: 0x12345678, data: pattern(30, 3) }],
      },
    },
  ];
  for (const { name, options } of kinds) {
    const { clusterSizeBytes = 65536, refcountBits = 16, encryption } = options;
    const file = createMemoryFile({ name: "ours.qcow2" });
    const sizeBytes = Math.max(clusterSizeBytes * 40, 65536);
    await createQcow2(file, { sizeBytes, ...options });
    const device = await openQcow2(file, encryption && { password: encryption.password });
    await device.write(1000, pattern(3 * clusterSizeBytes, 3));
    await device.write(sizeBytes - clusterSizeBytes - 5, pattern(clusterSizeBytes + 5, 7));
    if (refcountBits > 1 && !encryption)
      for (let i = 10; i < 14; i++)
        await device.writeCompressed(i * clusterSizeBytes, pattern(clusterSizeBytes, i));
    if (refcountBits > 1) {
      await device.createSnapshot({ name: "before", dateSeconds: 1, dateNanoseconds: 0 });
      await device.write(1000, pattern(5 * clusterSizeBytes, 9));
    }
    await device.flush();
    const password = encryption && PASSWORD;
    shapes.push({ name: `ours-${name}`, image: file.toBytes(), password, backing: {} });
    await device.close();
  }
  // Nearly as large as a safe integer: everything about it must be sparse.
  const huge = createMemoryFile({ name: "huge.qcow2" });
  await createQcow2(huge, { sizeBytes: 2 ** 50, clusterSizeBytes: 2 ** 20 });
  const device = await openQcow2(huge);
  await device.write(2 ** 49, pattern(5000, 3));
  await device.flush();
  shapes.push({ name: "ours-1-pib", image: huge.toBytes(), password: undefined, backing: {} });
  await device.close();
  shapes.push({ name: "ours-2008", image: make2008(), password: undefined, backing: {} });
  return shapes;
}

/** What an image says of itself, in the extension that this project gave the format. */
function metadata(): { magic: number; data: Uint8Array } {
  const pairs = new Map([
    ["appliance.name", "Fuzz"],
    ["machine.memory", "64"],
  ]);
  return { magic: METADATA_MAGIC, data: encodeMetadata(pairs, "fuzz", 4096) };
}

/** The metadata image of 2008: a version 2 image that calls itself 3, with pairs where the backing name was. */
function make2008(): Uint8Array {
  const clusterBytes = 4096;
  const image = new Uint8Array(6 * clusterBytes);
  const view = new DataView(image.buffer);
  image.set(new TextEncoder().encode("QFI\xfb").slice(0, 3));
  image[3] = 0xfb;
  const metadata = new TextEncoder().encode("Backing-File:base.raw\0Author:A. Maker\0Note:x:y\0");
  view.setUint32(4, 3);
  view.setBigUint64(8, 80n);
  view.setUint32(16, metadata.length);
  view.setUint32(20, 12);
  view.setBigUint64(24, 65536n);
  view.setUint32(36, 1);
  view.setBigUint64(40, 3n * BigInt(clusterBytes));
  view.setBigUint64(48, BigInt(clusterBytes));
  view.setUint32(56, 1);
  image.set(metadata, 80);
  view.setBigUint64(clusterBytes, 2n * BigInt(clusterBytes));
  for (let i = 0; i < 6; i++) view.setUint16(2 * clusterBytes + i * 2, 1);
  view.setBigUint64(3 * clusterBytes, (1n << 63n) | (4n * BigInt(clusterBytes)));
  view.setBigUint64(4 * clusterBytes, (1n << 63n) | (5n * BigInt(clusterBytes)));
  image.set(pattern(clusterBytes, 5), 5 * clusterBytes);
  return image;
}

/** What QEMU makes: everything that the format has and qemu-img can be asked for. */
function buildQemus(): Shape[] {
  if (!hasQemu) return [];
  const bench = new Bench();
  const shapes: Shape[] = [];
  try {
    const random = createRandom(1);
    bench.put("base.raw", pattern(200_704, 11));
    qemuImg("create", "-q", "-f", "qcow2", "-o", "cluster_size=4096", bench.path("base.qcow2"), "256k");
    qemuIo(bench.path("base.qcow2"), ["write -P 9 0 100k"]);
    const backing = { "base.raw": bench.bytes("base.raw"), "base.qcow2": bench.bytes("base.qcow2") };

    const make = (
      name: string,
      size: string,
      options: string,
      extra: string[],
      steps: (path: string) => void,
    ) => {
      const path = bench.path(`${name}.qcow2`);
      qemuImg("create", "-q", "-f", "qcow2", ...extra, "-o", options, path, size);
      steps(path);
      const image = bench.bytes(`${name}.qcow2`);
      const usesBacking = extra.includes("-b");
      const password = options.includes("encrypt.format=aes") ? PASSWORD : undefined;
      shapes.push({ name: `qemu-${name}`, image, password, backing: usesBacking ? backing : {} });
    };
    /** Data, a snapshot, more data and zeros, another snapshot, more data: shared and own clusters of each kind. */
    const busy = (path: string) => {
      qemuIo(path, ["write -P 1 0 90k", "write -P 2 150k 5k"]);
      qemuImg("snapshot", "-c", "first", path);
      qemuIo(path, ["write -P 3 30k 40k", "write -z 64k 64k", "discard 0 16k"]);
      qemuImg("snapshot", "-c", "second one", path);
      qemuIo(path, ["write -P 4 1k 20k", "write -zu 96k 32k"]);
    };
    make("v2-4k", "256k", "compat=0.10,cluster_size=4096", [], busy);
    make("v2-64k", "1M", "compat=0.10", [], busy);
    make("v3-512-8", "200k", "cluster_size=512,refcount_bits=8", [], busy);
    make("v3-1k-64", "256k", "cluster_size=1024,refcount_bits=64", [], busy);
    make("v3-4k-2", "256k", "cluster_size=4096,refcount_bits=2", [], (path) => {
      qemuIo(path, ["write -P 1 0 90k"]);
      qemuImg("snapshot", "-c", "first", path);
      qemuIo(path, ["write -P 3 30k 40k", "write -z 64k 64k"]);
    });
    make("v3-4k", "256k", "cluster_size=4096", [], busy);
    make("v3-64k", "1M", "cluster_size=65536,lazy_refcounts=on", [], busy);
    make("v3-resized", "256k", "cluster_size=4096", [], (path) => {
      busy(path);
      qemuImg("resize", "-q", path, "300k");
      qemuImg("snapshot", "-c", "larger", path);
      qemuIo(path, ["write -P 6 250k 50k"]);
    });
    make("extended-16k", "1M", "cluster_size=16384,extended_l2=on", [], (path) => {
      busy(path);
      qemuIo(path, ["write -P 5 200k 512", "write -z 205k 1k", "write -c -P 7 512k 16k"]);
    });
    make("extended-64k-zstd", "1M", "extended_l2=on,compression_type=zstd", [], (path) => {
      busy(path);
      qemuIo(path, ["write -P 5 200k 4k", "write -c -P 7 512k 64k"]);
    });
    make("over-raw", "256k", "cluster_size=4096", ["-b", "base.raw", "-F", "raw"], busy);
    make("over-qcow2", "300k", "cluster_size=4096", ["-b", "base.qcow2", "-F", "qcow2"], busy);
    make(
      "over-unsaid",
      "128k",
      "compat=0.10,cluster_size=4096",
      ["-u", "-b", "base.qcow2", "-F", "qcow2"],
      (path) => qemuIo(path, ["write -P 1 0 9k"]),
    );
    make("dirty", "256k", "cluster_size=4096,lazy_refcounts=on", [], (path) => {
      try {
        qemuIo(path, ["write -P 1 0 50k", "flush", "abort"]);
      } catch {
        // As it must: the process ends without closing the image.
      }
    });
    make("preallocated", "256k", "cluster_size=4096,preallocation=metadata", [], (path) =>
      qemuIo(path, ["write -P 1 0 50k"]),
    );
    make("bitmaps", "256k", "cluster_size=4096", [], (path) => {
      qemuImg("bitmap", "--add", "-g", "4096", path, "one");
      qemuImg("bitmap", "--add", "-g", "512", path, "second");
      qemuIo(path, ["write -P 1 0 100k"]);
      qemuImg("bitmap", "--disable", path, "one");
    });
    const secret = ["--object", `secret,id=s,data=${PASSWORD}`];
    make("aes", "256k", "cluster_size=4096,encrypt.format=aes,encrypt.key-secret=s", secret, (path) =>
      qemuIo(
        `driver=qcow2,encrypt.key-secret=s,file.filename=${path}`,
        ["write -P 1 0 50k", "write -z 64k 64k"],
        [...secret, "--image-opts"],
      ),
    );
    make("data-file", "256k", `cluster_size=4096,data_file=${bench.path("data.raw")}`, [], () => {});
    const plain = shapes.find(({ name }) => name === "qemu-v3-4k");
    if (plain) shapes.push({ ...plain, name: "luks", image: asLuks(plain.image) });
    bench.put("mixed.raw", mixed(random.fill(new Uint8Array(20_000))));
    for (const [name, options] of [
      ["zlib-512", "cluster_size=512"],
      ["zlib-4k", "cluster_size=4096,compat=0.10"],
      ["zlib-64k", "cluster_size=65536"],
      ["zstd-4k", "cluster_size=4096,compression_type=zstd"],
      ["zstd-64k", "cluster_size=65536,compression_type=zstd"],
      ["zstd-2m", "cluster_size=2M,compression_type=zstd"],
    ] as const) {
      const path = bench.path(`${name}.qcow2`);
      qemuImg("convert", "-c", "-O", "qcow2", "-o", options, bench.path("mixed.raw"), path);
      if (!name.endsWith("2m")) qemuImg("snapshot", "-c", "packed", path);
      shapes.push({
        name: `qemu-${name}`,
        image: bench.bytes(`${name}.qcow2`),
        password: undefined,
        backing: {},
      });
    }
  } finally {
    bench.remove();
  }
  return shapes;
}

/**
 * Says that an image is encrypted with LUKS, and where its header is: QEMU can make real ones, but times the
 * processor for it, and fails on a busy machine.
 */
function asLuks(plain: Uint8Array): Uint8Array {
  const image = plain.slice();
  const view = new DataView(image.buffer);
  view.setUint32(32, 2);
  const headerBytes = view.getUint32(100);
  view.setUint32(headerBytes, 0x0537be77);
  view.setUint32(headerBytes + 4, 16);
  view.setBigUint64(headerBytes + 8, 4096n);
  view.setBigUint64(headerBytes + 16, 4096n);
  view.setBigUint64(headerBytes + 24, 0n);
  return image;
}

/** Packable, noise, zeros, packable. */
function mixed(noise: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(200_704);
  bytes.set(pattern(90_000, 3));
  bytes.set(noise, 90_000);
  bytes.set(pattern(40_000, 5), 160_000);
  return bytes;
}
