import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createMemoryFile } from "../files/memory-file.ts";
import { createHostFile } from "../files/node-file.ts";
import { createFaultyHostIo, type FaultyHostIo } from "../testing/faulty-host-io.ts";
import { Bench, hasQemu, qemuImg, qemuIo } from "../testing/qemu.ts";
import { openQcow2 } from "./open.ts";

const SIZE_BYTES = 2 * 1024 * 1024;

interface Write {
  offset: number;
  data: Uint8Array;
}

/** A generator of numbers that is the same every time. */
function numbers(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

/** Bursts of writes, each followed by a flush. */
function makeBursts(seed: number): Write[][] {
  const random = numbers(seed);
  return Array.from({ length: 6 }, (_, burst) =>
    Array.from({ length: 5 }, (_, i) => {
      const length = 1 + random(12_000);
      return {
        offset: random(SIZE_BYTES - length),
        // Some of them zeros, which change entries alone.
        data: new Uint8Array(length).fill(i === 3 ? 0 : 1 + ((burst * 5 + i) % 250)),
      };
    }),
  );
}

/** Runs writes, and zeros, until the host fails; gives what was flushed, and what was written after that. */
async function runUntilCrash(
  host: FaultyHostIo,
  start: Uint8Array,
  bursts: readonly Write[][],
): Promise<{ flushed: Uint8Array; pending: Write[] }> {
  const flushed = start.slice();
  let pending: Write[] = [];
  try {
    const device = await openQcow2(createHostFile(host, { name: "disk.qcow2", writable: true }));
    for (const burst of bursts) {
      for (const write of burst) {
        pending.push(write);
        if (write.data[0] !== 0) await device.write(write.offset, write.data);
        else await device.writeZeroes(write.offset, write.data.length, { unmap: write.offset % 2 === 0 });
      }
      await device.flush();
      for (const { offset, data } of pending) flushed.set(data, offset);
      pending = [];
    }
  } catch (error) {
    if ((error as { code?: string }).code !== "STORAGE") throw error;
  }
  return { flushed, pending };
}

/** Every byte must be the flushed one, or one that was written there since. */
async function checkContent(
  image: Uint8Array,
  flushed: Uint8Array,
  pending: readonly Write[],
): Promise<void> {
  const device = await openQcow2(createMemoryFile({ name: "disk.qcow2", content: image, writable: false }));
  const bytes = new Uint8Array(SIZE_BYTES);
  await device.read(0, bytes);
  if (pending.length === 0) {
    expect(Buffer.compare(bytes, flushed)).toBe(0);
    return;
  }
  for (let i = 0; i < SIZE_BYTES; i++) {
    if (bytes[i] === flushed[i]) continue;
    const value = bytes[i];
    const since = pending.some(
      ({ offset, data }) => i >= offset && i < offset + data.length && data[0] === value,
    );
    if (!since) expect.fail(`byte ${i} is ${value}; ${flushed[i]} was flushed and nothing else written`);
  }
}

describe.skipIf(!hasQemu)("a crash of a plain file", () => {
  let bench: Bench;
  beforeAll(() => {
    bench = new Bench();
  });
  afterAll(() => bench.remove());

  /** An image with all that a write lets go of: compressed clusters, clusters and tables shared with a snapshot. */
  function makeImage(clusterSizeBytes: number, refcountBits: number): Uint8Array {
    const path = bench.path("disk.qcow2");
    const raw = new Uint8Array(SIZE_BYTES);
    for (let i = 0; i < SIZE_BYTES / 2; i++) raw[i] = 1 + ((i >> 10) % 200);
    bench.put("disk.raw", raw);
    const options = `cluster_size=${clusterSizeBytes},refcount_bits=${refcountBits}`;
    qemuImg("convert", "-c", "-f", "raw", "-O", "qcow2", "-o", options, bench.path("disk.raw"), path);
    qemuIo(path, ["write -P 201 100k 300k"]);
    qemuImg("snapshot", "-c", "shared", path);
    return bench.bytes("disk.qcow2");
  }

  test.each([
    { clusterSizeBytes: 512, refcountBits: 64, seed: 1 },
    { clusterSizeBytes: 4096, refcountBits: 16, seed: 2 },
    { clusterSizeBytes: 65536, refcountBits: 16, seed: 3 },
    { clusterSizeBytes: 4096, refcountBits: 1, seed: 4 },
  ])(
    "leaves leaks at most, and every flushed byte ($clusterSizeBytes-byte clusters, seed $seed)",
    { timeout: 120_000 },
    async ({ clusterSizeBytes, refcountBits, seed }) => {
      const image =
        refcountBits === 1
          ? makeImageWithoutSharing(clusterSizeBytes)
          : makeImage(clusterSizeBytes, refcountBits);
      const start = bench.guestBytes("disk.qcow2");
      const bursts = makeBursts(seed);
      const whole = createFaultyHostIo(image);
      await runUntilCrash(whole, start, bursts);
      const random = numbers(seed);
      const step = Math.max(1, Math.floor(whole.operations / 12));
      for (let failFrom = 1; failFrom < whole.operations; failFrom += step) {
        const host = createFaultyHostIo(image);
        host.failFrom = failFrom;
        const { flushed, pending } = await runUntilCrash(host, start, bursts);
        const cut = random(host.unsynced + 1);
        const patterns = [
          () => false,
          () => true,
          (position: number) => position < cut,
          () => random(2) === 0,
        ];
        for (const survives of patterns) {
          const after = host.afterCrash(survives);
          bench.put("after.qcow2", after);
          expect(bench.checkCounts("after.qcow2").corruptions).toBe(0);
          await checkContent(after, flushed, pending);
        }
      }
    },
  );

  /** One-bit refcounts allow no sharing, so compressed clusters that pack and snapshots are out. */
  function makeImageWithoutSharing(clusterSizeBytes: number): Uint8Array {
    const path = bench.path("disk.qcow2");
    qemuImg(
      "create",
      "-q",
      "-f",
      "qcow2",
      "-o",
      `cluster_size=${clusterSizeBytes},refcount_bits=1`,
      path,
      `${SIZE_BYTES}`,
    );
    qemuIo(path, ["write -P 201 100k 300k"]);
    return bench.bytes("disk.qcow2");
  }
});
