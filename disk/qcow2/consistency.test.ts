import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { createMemoryFile } from "../files/memory-file.ts";
import { type ColdFile, createColdFile } from "../testing/cold-file.ts";
import { Bench, hasQemu } from "../testing/qemu.ts";
import { createQcow2 } from "./create.ts";
import { openQcow2 } from "./open.ts";
import type { Qcow2Device } from "./qcow2-device.ts";

const SIZE_BYTES = 1024 * 1024;
const CLUSTER_BYTES = 4096;

const base = new Uint8Array(SIZE_BYTES / 2 + 1000);
for (let i = 0; i < base.length; i++) base[i] = (i >> 8) ^ 0x5a;

/** What a disk over `base` reads as before its first write. */
function freshModel(): Uint8Array {
  const model = new Uint8Array(SIZE_BYTES);
  model.set(base);
  return model;
}

async function createOverlay(clusterSizeBytes = CLUSTER_BYTES): Promise<Uint8Array> {
  const file = createMemoryFile({ name: "overlay" });
  await createQcow2(file, {
    sizeBytes: SIZE_BYTES,
    clusterSizeBytes,
    backing: { name: "base.raw", format: "raw" },
  });
  return file.toBytes();
}

function open(file: ColdFile): Promise<Qcow2Device> {
  return openQcow2(file, {
    resolveBacking: async () => createColdFile(base, { name: "base.raw", capacityPieces: 300 }),
  });
}

type Step =
  | { kind: "write"; offset: number; length: number; value: number }
  | { kind: "compressed"; cluster: number; value: number }
  | { kind: "read"; offset: number; length: number }
  | { kind: "flush" }
  | { kind: "chill" }
  | { kind: "reopen" };

const range = fc
  .tuple(fc.nat(SIZE_BYTES - 1), fc.integer({ min: 1, max: 20_000 }))
  .map(([offset, length]) => ({ offset, length: Math.min(length, SIZE_BYTES - offset) }));
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc
      .tuple(range, fc.integer({ min: 1, max: 255 }))
      .map(([r, value]) => ({ kind: "write" as const, ...r, value })),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant("compressed" as const),
      cluster: fc.nat(SIZE_BYTES / CLUSTER_BYTES - 1),
      value: fc.integer({ min: 1, max: 255 }),
    }),
  },
  { weight: 3, arbitrary: range.map((r) => ({ kind: "read" as const, ...r })) },
  { weight: 1, arbitrary: fc.constant<Step>({ kind: "flush" }) },
  { weight: 1, arbitrary: fc.constant<Step>({ kind: "chill" }) },
  { weight: 1, arbitrary: fc.constant<Step>({ kind: "reopen" }) },
);

/** A cluster that deflates to nearly nothing. */
function plainCluster(value: number): Uint8Array {
  return new Uint8Array(CLUSTER_BYTES).fill(value);
}

describe("a qcow2 device over a file that is never ready", () => {
  test.each([true, false])("does what a plain array does (transactional: %s)", async (transactional) => {
    const empty = await createOverlay();
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
        let file = createColdFile(empty, { transactional });
        let device = await open(file);
        const model = freshModel();
        for (const s of steps) {
          if (s.kind === "write") {
            const data = new Uint8Array(s.length).fill(s.value);
            await device.write(s.offset, data);
            model.set(data, s.offset);
          } else if (s.kind === "compressed") {
            await device.writeCompressed(s.cluster * CLUSTER_BYTES, plainCluster(s.value));
            model.set(plainCluster(s.value), s.cluster * CLUSTER_BYTES);
          } else if (s.kind === "read") {
            const target = new Uint8Array(s.length);
            await device.read(s.offset, target);
            expect(Buffer.compare(target, model.subarray(s.offset, s.offset + s.length))).toBe(0);
          } else if (s.kind === "flush") await device.flush();
          else if (s.kind === "chill") file.chill();
          else {
            await device.flush();
            file = createColdFile(file.toBytes(), { transactional });
            device = await open(file);
          }
        }
        const whole = new Uint8Array(SIZE_BYTES);
        await device.read(0, whole);
        expect(Buffer.compare(whole, model)).toBe(0);
      }),
      { numRuns: 40 },
    );
  });

  test("keeps requests that run side by side apart", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.nat(63), { minLength: 2, maxLength: 40 }),
        fc.nat(255),
        async (order, salt) => {
          const file = createColdFile(await createOverlay(), { capacityPieces: 40 });
          const device = await open(file);
          const model = freshModel();
          // Each takes its own 1000 bytes, many to a cluster, all at once: they share clusters, L2 and refcounts.
          const writes = [...new Set(order)].map((slot, i) => {
            const data = new Uint8Array(1000).fill((i + salt) % 255);
            model.set(data, slot * 1000 + 500_000);
            return device.write(slot * 1000 + 500_000, data);
          });
          await Promise.all(writes);
          const whole = new Uint8Array(SIZE_BYTES);
          await device.read(0, whole);
          expect(Buffer.compare(whole, model)).toBe(0);
        },
      ),
      { numRuns: 25 },
    );
  });

  test("passes on what a load meets, changes nothing, and goes on afterwards", async () => {
    const file = createColdFile(await createOverlay());
    const device = await open(file);
    await device.write(5000, new Uint8Array(100).fill(1));
    const before = file.toBytes();
    file.chill();
    file.failure = new Error("the network is gone");
    await expect(device.write(6000, new Uint8Array(100).fill(2))).rejects.toThrow("the network is gone");
    await expect(device.read(0, new Uint8Array(100_000))).rejects.toThrow("the network is gone");
    expect(Buffer.compare(file.toBytes(), before)).toBe(0);
    file.failure = undefined;
    await device.write(6000, new Uint8Array(100).fill(2));
    const read = new Uint8Array(1200);
    await device.read(5000, read);
    expect(read[0]).toBe(1);
    expect(read[1000]).toBe(2);
  });

  test("completes in the same call once everything is in memory", async () => {
    const device = await open(createColdFile(await createOverlay(), { capacityPieces: 10_000 }));
    expect(device.readNow(0, new Uint8Array(512))).toBe(false);
    await device.read(0, new Uint8Array(512));
    expect(device.readNow(0, new Uint8Array(512))).toBe(true);
    await device.write(0, new Uint8Array(512).fill(3));
    expect(device.writeNow(512, new Uint8Array(512).fill(4))).toBe(true);
    const target = new Uint8Array(1024);
    expect(device.readNow(0, target)).toBe(true);
    expect([target[0], target[1023]]).toEqual([3, 4]);
  });
});

describe.skipIf(!hasQemu)("at every turn of the event loop", () => {
  test("the file holds a consistent image, with no leak", async () => {
    const bench = new Bench();
    bench.put("base.raw", base);
    for (const clusterSizeBytes of [512, 4096]) {
      const file = createColdFile(await createOverlay(clusterSizeBytes), { capacityPieces: 30 });
      const device = await open(file);
      const states: Uint8Array[] = [];
      let writing = true;
      const watch = (async () => {
        while (writing) {
          states.push(file.toBytes());
          await new Promise((resolve) => setImmediate(resolve));
        }
      })();
      // Waves of writes that run side by side, each wave from a cold file.
      for (let wave = 0; wave < 6; wave++) {
        file.chill();
        const writes = Array.from({ length: 5 }, (_, k) => {
          const i = wave * 5 + k;
          return device.write((i * 37_777) % (SIZE_BYTES - 9000), new Uint8Array(9000 - i).fill(i + 1));
        });
        await Promise.all(writes);
      }
      writing = false;
      await watch;
      states.push(file.toBytes());
      expect(states.length).toBeGreaterThan(5);
      const sample = states.filter(
        (_, i) => i % Math.ceil(states.length / 12) === 0 || i === states.length - 1,
      );
      for (const bytes of sample) {
        bench.put("state.qcow2", bytes);
        bench.check("state.qcow2");
      }
    }
    bench.remove();
  });
});
