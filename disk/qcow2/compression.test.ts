import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Bench, hasQemu, qemuImg } from "../testing/qemu.ts";
import { randomBytes } from "../testing/random-bytes.ts";
import { type ClusterCodec, loadCodec } from "./compression.ts";
import { HeaderField } from "./format.ts";
import { viewOf } from "./u64.ts";

const CLUSTER_SIZES = [512, 4096, 65536, 2 * 1024 * 1024];

/** Text of a kind: packs to about a third. */
function packable(lengthBytes: number, seed = 1): Uint8Array {
  const bytes = new Uint8Array(lengthBytes);
  let state = seed;
  for (let i = 0; i < lengthBytes; i++) {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    bytes[i] = state >>> 31 ? 0x61 + (state >>> 28) : (i >> 4) & 0xff;
  }
  return bytes;
}

function concat(...parts: readonly (Uint8Array | number[])[]): Uint8Array {
  return Uint8Array.from(parts.flatMap((part) => [...part]));
}

describe.each(["zlib", "zstd"] as const)("%s clusters", (type) => {
  let codec: ClusterCodec;
  beforeAll(async () => {
    codec = await loadCodec(type);
  });

  test.each(CLUSTER_SIZES)("of %i bytes come back", (clusterSizeBytes) => {
    for (const cluster of [packable(clusterSizeBytes), new Uint8Array(clusterSizeBytes)]) {
      const packed = codec.compress(cluster);
      expect(packed?.length).toBeLessThan(clusterSizeBytes);
      const plain = codec.decompress(packed ?? new Uint8Array(), clusterSizeBytes);
      expect(Buffer.compare(plain ?? new Uint8Array(), cluster)).toBe(0);
    }
  });

  test("that would not be smaller are not packed", () => {
    expect(codec.compress(randomBytes(4096))).toBeUndefined();
  });

  test("come back whatever follows their data", () => {
    const cluster = packable(4096);
    const packed = codec.compress(cluster) ?? new Uint8Array();
    for (const rest of [new Uint8Array(511), randomBytes(511), packed, packed.subarray(0, 9)])
      expect(codec.decompress(concat(packed, rest), 4096)).toEqual(cluster);
  });

  test("cut short, or of another size, are damaged", () => {
    const packed = codec.compress(packable(4096)) ?? new Uint8Array();
    expect(codec.decompress(packed.subarray(0, packed.length - 8), 4096)).toBeUndefined();
    expect(codec.decompress(packed, 8192)).toBeUndefined();
    expect(codec.decompress(new Uint8Array(), 4096)).toBeUndefined();
    expect(codec.decompress(new Uint8Array(512), 4096)).toBeUndefined();
  });

  test("with any byte changed come back as some cluster, or are damaged", () => {
    const packed = codec.compress(packable(4096)) ?? new Uint8Array();
    for (let at = 0; at < packed.length; at++)
      for (const change of [1, 0x80, 0xff]) {
        const damaged = packed.slice();
        damaged[at] = (damaged[at] ?? 0) ^ change;
        const plain = codec.decompress(damaged, 4096);
        expect(plain === undefined || plain.length === 4096).toBe(true);
      }
    expect(codec.decompress(packed, 4096)).toEqual(packable(4096));
  });
});

describe("zstd frames", () => {
  let codec: ClusterCodec;
  let half: Uint8Array;
  let frame: Uint8Array;
  beforeAll(async () => {
    codec = await loadCodec("zstd");
    half = packable(4096);
    frame = codec.compress(half) ?? new Uint8Array();
  });
  /** Magic, descriptor (one segment, content size of 4 bytes), size; blocks follow. */
  const header = (contentBytes: number) => {
    const bytes = new Uint8Array(9);
    bytes.set([0x28, 0xb5, 0x2f, 0xfd, 0xa0]);
    viewOf(bytes).setUint32(5, contentBytes, true);
    return bytes;
  };
  const rle = (value: number, lengthBytes: number, last: boolean) => {
    const bits = (lengthBytes << 3) | 2 | (last ? 1 : 0);
    return [bits & 0xff, (bits >> 8) & 0xff, bits >> 16, value];
  };

  test("several make one cluster, with frames to skip and empty ones between them", () => {
    const skipped = [0x5a, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 9, 9, 9];
    const empty = concat(header(0), [1, 0, 0]);
    const data = concat(skipped, frame, empty, skipped, frame, randomBytes(100));
    expect(codec.decompress(data, 8192)).toEqual(concat(half, half));
  });

  test("that do not say their size are read", () => {
    // No content size, a window of 1 KiB.
    const data = concat([0x28, 0xb5, 0x2f, 0xfd, 0, 0], rle(7, 512, false), rle(8, 512, true));
    const plain = codec.decompress(data, 1024);
    expect(plain).toEqual(concat(new Uint8Array(512).fill(7), new Uint8Array(512).fill(8)));
  });

  test.each<[string, () => Uint8Array]>([
    ["claims 4 GiB", () => concat(header(0xffffffff), rle(0, 4096, true))],
    ["holds more than a cluster", () => concat(header(8192), rle(0, 8192, true))],
    [
      "holds more than it says",
      () => concat(header(4096), ...Array.from({ length: 500 }, () => rle(0, 131072, false))),
    ],
    [
      "holds more than a cluster and does not say so",
      () =>
        concat(
          [0x28, 0xb5, 0x2f, 0xfd, 0, 0x50],
          ...Array.from({ length: 99 }, (_, i) => rle(0, 131072, i === 98)),
        ),
    ],
    [
      "asks for a window of 3.75 TiB",
      () => concat([0x28, 0xb5, 0x2f, 0xfd, 0, 0xff], rle(0, 4096, true), rle(0, 1, true)),
    ],
    ["asks for a dictionary", () => concat([0x28, 0xb5, 0x2f, 0xfd, 1, 0, 7], rle(0, 4096, true))],
    ["has a reserved bit", () => concat([0x28, 0xb5, 0x2f, 0xfd, 8, 0], rle(0, 4096, true))],
    ["has a reserved block", () => concat(header(4096), [7, 0, 0])],
    ["has a block of 2 MiB", () => concat(header(4096), [0xf9, 0xff, 0xff], new Uint8Array(4096))],
    ["goes on for ever in empty blocks", () => concat(header(4096), new Uint8Array(1 << 16))],
    [
      "is one of thousands of empty ones",
      () => concat(...Array.from({ length: 20_000 }, () => concat(header(0), [1, 0, 0]))),
    ],
    ["is to be skipped past the end", () => concat([0x50, 0x2a, 0x4d, 0x18, 0xff, 0xff, 0xff, 0xff], frame)],
    ["is of an older zstd", () => concat([0x27, 0xb5, 0x2f, 0xfd, 0, 0], rle(0, 4096, true))],
  ])("one that %s is damaged, at once", (_, make) => {
    const data = make();
    const start = performance.now();
    expect(codec.decompress(data, 4096)).toBeUndefined();
    // Far above what it takes on a busy machine, far below what going through it all would.
    expect(performance.now() - start).toBeLessThan(5000);
    expect(codec.decompress(frame, 4096)).toEqual(half);
  });
});

describe.skipIf(!hasQemu)("compressed clusters beside QEMU", () => {
  let bench: Bench;
  beforeAll(() => {
    bench = new Bench();
  });
  afterAll(() => bench.remove());

  test.each(
    CLUSTER_SIZES.flatMap((clusterSizeBytes) =>
      (["zlib", "zstd"] as const).map((type) => ({ type, clusterSizeBytes })),
    ),
  )(
    "$type, $clusterSizeBytes bytes: QEMU's are read here, ours there",
    async ({ type, clusterSizeBytes }) => {
      const raw = packable(Math.max(4 * clusterSizeBytes, 65536));
      bench.put("disk.raw", raw);
      const options = `cluster_size=${clusterSizeBytes},compression_type=${type}`;
      qemuImg("convert", "-c", "-O", "qcow2", "-o", options, bench.path("disk.raw"), bench.path("a.qcow2"));
      const image = bench.bytes("a.qcow2");
      const view = viewOf(image);
      const codec = await loadCodec(type);
      const appended: Uint8Array[] = [];
      let end = image.length;
      for (const { guestOffsetBytes, entryAt, data } of compressedClusters(image)) {
        const plain = codec.decompress(data, clusterSizeBytes);
        const wanted = raw.subarray(guestOffsetBytes, guestOffsetBytes + clusterSizeBytes);
        expect(Buffer.compare(plain ?? new Uint8Array(), wanted)).toBe(0);
        // Ours goes behind the file's end, packed as QEMU packs.
        const ours = codec.compress(wanted) ?? new Uint8Array();
        const sectors = Math.floor((end + ours.length - 1) / 512) - Math.floor(end / 512);
        const shift = BigInt(62 - (Math.log2(clusterSizeBytes) - 8));
        view.setBigUint64(entryAt, (1n << 62n) | (BigInt(sectors) << shift) | BigInt(end));
        appended.push(ours);
        end += ours.length;
      }
      expect(appended.length).toBeGreaterThan(0);
      const fill = new Uint8Array(512 - (end % 512)).fill(0xa5);
      bench.put("b.qcow2", Buffer.concat([image, ...appended, fill]));
      expect(Buffer.compare(bench.guestBytes("b.qcow2"), raw)).toBe(0);
    },
  );
});

/** Every compressed cluster of an image: where its L2 entry stands, and its data up to the end of a sector. */
function* compressedClusters(
  image: Uint8Array,
): Generator<{ guestOffsetBytes: number; entryAt: number; data: Uint8Array }> {
  const view = viewOf(image);
  const clusterBits = view.getUint32(HeaderField.CLUSTER_BITS);
  const entries = 2 ** clusterBits / 8;
  const l1 = Number(view.getBigUint64(HeaderField.L1_OFFSET));
  const shift = BigInt(62 - (clusterBits - 8));
  for (let i = 0; i < view.getUint32(HeaderField.L1_SIZE); i++) {
    const l2 = Number(view.getBigUint64(l1 + i * 8) & 0xfffffffffffe00n);
    for (let j = 0; l2 !== 0 && j < entries; j++) {
      const entryAt = l2 + j * 8;
      const entry = view.getBigUint64(entryAt);
      if (((entry >> 62n) & 1n) === 0n) continue;
      const start = Number(entry & ((1n << shift) - 1n));
      const sectors = Number((entry & ((1n << 62n) - 1n)) >> shift) + 1;
      yield {
        guestOffsetBytes: (i * entries + j) * 2 ** clusterBits,
        entryAt,
        data: image.subarray(start, (Math.floor(start / 512) + sectors) * 512),
      };
    }
  }
}
