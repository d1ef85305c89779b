import { spawnSync } from "node:child_process";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createMemoryFile } from "../files/memory-file.ts";
import { createHostFile } from "../files/node-file.ts";
import { createFaultyHostIo, type FaultyHostIo } from "../testing/faulty-host-io.ts";
import { Bench, hasQemu } from "../testing/qemu.ts";
import { createQcow2 } from "./create.ts";
import { openQcow2 } from "./open.ts";
import type { Qcow2Device } from "./qcow2-device.ts";

const MIB = 1024 * 1024;
/** How many crashes are tried, over the whole run. */
const CRASHES = Number(process.env.CRASHES ?? 12);

type Change = (device: Qcow2Device) => Promise<void>;

/** What a disk and its snapshots read as: "" is the disk itself. */
type Contents = Map<string, string>;

/** Changes of the image as a whole, each after writes that share and unshare clusters. */
const CHANGES: [name: string, change: Change][] = [
  ["create a", async (device) => void (await device.createSnapshot({ name: "a" }))],
  ["write", (device) => device.write(100_000, new Uint8Array(300_000).fill(2))],
  ["create b", async (device) => void (await device.createSnapshot({ name: "b" }))],
  ["write again", (device) => device.write(50_000, new Uint8Array(100_000).fill(3))],
  ["apply a", (device) => device.applySnapshot("a")],
  ["write once more", (device) => device.write(0, new Uint8Array(200_000).fill(4))],
  ["delete a", (device) => device.deleteSnapshot("a")],
  ["delete b", (device) => device.deleteSnapshot("b")],
  ["grow", (device) => device.resize(40 * MIB)],
  ["refcounts", (device) => device.amend({ refcountBits: 32 })],
  ["shrink", (device) => device.resize(MIB / 2, { shrink: true })],
  ["empty", (device) => device.makeEmpty()],
];

async function contentsOf(device: Qcow2Device): Promise<Contents> {
  const contents: Contents = new Map();
  const read = async (name: string, source: { sizeBytes: number; read: Qcow2Device["read"] }) => {
    const bytes = new Uint8Array(source.sizeBytes);
    await source.read(0, bytes);
    contents.set(name, Buffer.from(bytes).toString("latin1"));
  };
  await read("", device);
  for (const { name } of device.snapshots) await read(name, await device.openSnapshot(name));
  return contents;
}

/**
 * Runs the changes until the host fails.
 *
 * @returns what the image read as after each change that was flushed, the last of them, and the one after it.
 */
async function runUntilCrash(host: FaultyHostIo): Promise<number> {
  let done = 0;
  try {
    const device = await openQcow2(createHostFile(host, { name: "disk.qcow2", writable: true }));
    for (const [, change] of CHANGES) {
      await change(device);
      await device.flush();
      done++;
    }
  } catch (error) {
    if ((error as { code?: string }).code !== "STORAGE") throw error;
  }
  return done;
}

function same(a: Contents, b: Contents): boolean {
  return a.size === b.size && [...a].every(([name, bytes]) => b.get(name) === bytes);
}

describe.skipIf(!hasQemu)("a crash in a change of the whole image, on a plain file", () => {
  let bench: Bench;
  beforeAll(() => {
    bench = new Bench();
  });
  afterAll(() => bench.remove());

  test.each([
    { version: 3, clusterSizeBytes: 65536 },
    { version: 3, clusterSizeBytes: 1024 },
  ] as const)(
    "leaves the image before or after it, to be mended at most ($clusterSizeBytes-byte clusters)",
    { timeout: 120_000 },
    async (options) => {
      const made = createMemoryFile({ name: "disk.qcow2" });
      await createQcow2(made, { sizeBytes: MIB, ...options });
      const first = await openQcow2(createMemoryFile({ content: made.toBytes() }));
      await first.write(0, new Uint8Array(MIB / 2).fill(1));
      await first.flush();
      const image = (first.image.file as ReturnType<typeof createMemoryFile>).toBytes();

      // What is to be read after each change.
      const model = await openQcow2(createMemoryFile({ content: image }));
      const states = [await contentsOf(model)];
      for (const [, change] of CHANGES) {
        await change(model);
        states.push(await contentsOf(model));
      }

      const whole = createFaultyHostIo(image);
      expect(await runUntilCrash(whole)).toBe(CHANGES.length);
      let seed = 7;
      const random = (below: number) => {
        seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
        return Math.floor((seed / 2 ** 32) * below);
      };
      const step = Math.max(1, Math.floor(whole.operations / CRASHES));
      for (let failFrom = 1; failFrom < whole.operations; failFrom += step) {
        const host = createFaultyHostIo(image);
        host.failFrom = failFrom;
        const done = await runUntilCrash(host);
        for (const survives of [() => true, () => false, () => random(2) === 0]) {
          const after = host.afterCrash(survives);
          bench.put("after.qcow2", after);
          // The next program to write repairs counts first: the dirty bit says so. Flags may disagree until then.
          const dirty = ((after[79] ?? 0) & 1) === 1;
          const what = `${failFrom}: in ${CHANGES[done]?.[0]}`;
          if (!dirty) expect(bench.checkCounts("after.qcow2").corruptions, what).toBe(0);
          spawnSync("qemu-img", ["check", "-q", "-r", "all", bench.path("after.qcow2")]);
          bench.check("after.qcow2");
          // As it is, and as QEMU has mended it.
          for (const bytes of [after, bench.bytes("after.qcow2")]) {
            const device = await openQcow2(createMemoryFile({ content: bytes }));
            const found = await contentsOf(device);
            const isOne = [states[done], states[done + 1]].some((state) => state && same(state, found));
            // A write may be half there: then only the disk itself may differ.
            const isWrite = CHANGES[done]?.[0].startsWith("write") ?? false;
            expect(isOne || (isWrite && sameSnapshots(states[done], found)), what).toBe(true);
          }
        }
      }
    },
  );
});

function sameSnapshots(a: Contents | undefined, b: Contents): boolean {
  return a !== undefined && [...a].every(([name, bytes]) => name === "" || b.get(name) === bytes);
}
