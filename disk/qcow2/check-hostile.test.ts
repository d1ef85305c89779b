import { describe, expect, test } from "vitest";
import { ByreError } from "../errors.ts";
import { createMemoryFile, type MemoryFile } from "../files/memory-file.ts";
import { checkQcow2 } from "./check.ts";
import { createQcow2 } from "./create.ts";
import { HeaderField } from "./format.ts";
import { viewOf } from "./u64.ts";

/** What no single image may take. */
const MAX_MILLISECONDS = 1000;
const MAX_BYTES = 256 * 1024 * 1024;

/** An empty image with room behind it for what a case puts there. */
async function image(
  clusterSizeBytes: number,
  fileBytes: number,
  change: (view: DataView, bytes: Uint8Array) => void,
  version: 2 | 3 = 2,
): Promise<MemoryFile> {
  const file = createMemoryFile({ name: "hostile.qcow2" });
  await createQcow2(file, { sizeBytes: 2 ** 20, clusterSizeBytes, version });
  const bytes = new Uint8Array(fileBytes);
  bytes.set(file.toBytes());
  change(viewOf(bytes), bytes);
  return createMemoryFile({ name: "hostile.qcow2", content: bytes });
}

/** Checks within the limits; a typed error is an answer too. */
async function checked(file: MemoryFile): Promise<{ corruptions?: number; code?: string }> {
  const before = process.memoryUsage();
  const start = process.cpuUsage();
  let outcome: { corruptions?: number; code?: string };
  try {
    outcome = await checkQcow2(file, { report: () => {} });
  } catch (error) {
    if (!(error instanceof ByreError)) throw error;
    outcome = { code: error.code };
  }
  const { user, system } = process.cpuUsage(start);
  const after = process.memoryUsage();
  expect(after.arrayBuffers + after.heapUsed - before.arrayBuffers - before.heapUsed).toBeLessThan(MAX_BYTES);
  // Of the processor, since other tests run at the same time; microseconds.
  expect((user + system) / 1000).toBeLessThan(MAX_MILLISECONDS);
  return outcome;
}

describe("a check of an image that means harm", () => {
  test("65536 snapshots that share one huge L1 table", async () => {
    const file = await image(512, 8 * 2 ** 20, (view) => {
      view.setUint32(HeaderField.SNAPSHOT_COUNT, 65536);
      view.setBigUint64(HeaderField.SNAPSHOTS_OFFSET, BigInt(4 * 2 ** 20));
      for (let i = 0; i < 65536; i++) {
        view.setBigUint64(4 * 2 ** 20 + i * 40, BigInt(8192));
        view.setUint32(4 * 2 ** 20 + i * 40 + 8, 500_000);
      }
      // Every entry points at the same L2 table, which points at itself.
      for (let at = 8192; at < 4 * 2 ** 20; at += 8) view.setBigUint64(at, 8192n);
    });
    expect((await checked(file)).corruptions).toBeGreaterThan(1000);
  });

  test("65536 snapshots whose L1 tables begin everywhere", async () => {
    const file = await image(512, 8 * 2 ** 20, (view) => {
      view.setUint32(HeaderField.SNAPSHOT_COUNT, 65536);
      view.setBigUint64(HeaderField.SNAPSHOTS_OFFSET, BigInt(4 * 2 ** 20));
      for (let i = 0; i < 65536; i++) {
        view.setBigUint64(4 * 2 ** 20 + i * 40, BigInt((i % 8000) * 512));
        view.setUint32(4 * 2 ** 20 + i * 40 + 8, 500_000 - (i % 100) * 64);
      }
    });
    expect((await checked(file)).corruptions).toBeGreaterThan(0);
  });

  test("an L1 table of 4 million entries past the end of the file", async () => {
    const file = await image(65536, 2 ** 20, (view) => {
      view.setUint32(HeaderField.L1_SIZE, 4 * 2 ** 20);
      view.setBigUint64(HeaderField.L1_OFFSET, 1n << 50n);
    });
    expect((await checked(file)).corruptions).toBeGreaterThan(0);
  });

  test("a refcount table whose million entries are one block", async () => {
    const file = await image(65536, 12 * 2 ** 20, (view) => {
      view.setUint32(HeaderField.REFCOUNT_TABLE_CLUSTERS, 128);
      view.setBigUint64(HeaderField.REFCOUNT_TABLE_OFFSET, BigInt(2 * 2 ** 20));
      for (let i = 0; i < 2 ** 20; i++) view.setBigUint64(2 * 2 ** 20 + i * 8, 0x20000n);
    });
    expect((await checked(file)).corruptions).toBeGreaterThan(1000);
  });

  test("L2 entries all over 2^56 bytes", async () => {
    const file = await image(65536, 4 * 2 ** 20, (view) => {
      const l1 = Number(view.getBigUint64(HeaderField.L1_OFFSET));
      view.setBigUint64(l1, BigInt(2 * 2 ** 20));
      for (let i = 0; i < 8192; i++)
        view.setBigUint64(2 * 2 ** 20 + i * 8, (BigInt(i) * 0x1f2f3f4f5f67n * 65536n) & 0x00ffffffffff0000n);
    });
    expect((await checked(file)).corruptions).toBeGreaterThan(1000);
  });

  test("tables that point at each other in a ring", async () => {
    const file = await image(4096, 2 ** 20, (view) => {
      const l1 = Number(view.getBigUint64(HeaderField.L1_OFFSET));
      for (let i = 0; i < 512; i++) view.setBigUint64(l1 + i * 8, BigInt(l1));
    });
    expect((await checked(file)).corruptions).toBeGreaterThan(0);
  });

  test("compressed clusters with lies about place and length", async () => {
    const file = await image(4096, 2 ** 20, (view) => {
      const l1 = Number(view.getBigUint64(HeaderField.L1_OFFSET));
      view.setBigUint64(l1, 0x10000n);
      for (let i = 0; i < 512; i++)
        view.setBigUint64(0x10000 + i * 8, (0xffffffffffffffffn >> BigInt(i % 40)) | (1n << 62n));
    });
    expect((await checked(file)).corruptions).toBeGreaterThan(0);
  });

  test("a disk of 1 PiB takes no memory for its size", async () => {
    const file = createMemoryFile({ name: "large.qcow2" });
    await createQcow2(file, { sizeBytes: 2 ** 50, clusterSizeBytes: 2 ** 21 });
    expect((await checked(file)).corruptions).toBe(0);
  });

  test("an incompatible feature that is not known: nothing is written, whatever is asked", async () => {
    const file = await image(
      4096,
      2 ** 16,
      (view) => view.setBigUint64(HeaderField.INCOMPATIBLE_FEATURES, 1n << 40n),
      3,
    );
    const before = file.toBytes();
    await expect(checkQcow2(file, { repair: "all" })).rejects.toMatchObject({ code: "UNSUPPORTED_FEATURE" });
    expect(Buffer.from(file.toBytes()).equals(before)).toBe(true);
  });

  test("can be stopped", async () => {
    const file = await image(4096, 2 ** 20, (view) => {
      const l1 = Number(view.getBigUint64(HeaderField.L1_OFFSET));
      view.setBigUint64(l1, 0x10000n);
    });
    await expect(checkQcow2(file, { signal: AbortSignal.abort() })).rejects.toMatchObject({
      code: "CANCELLED",
    });
  });
});
