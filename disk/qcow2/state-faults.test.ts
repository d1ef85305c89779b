import { spawnSync } from "node:child_process";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createMemoryFile } from "../files/memory-file.ts";
import { createHostFile } from "../files/node-file.ts";
import { createFaultyHostIo, type FaultyHostIo } from "../testing/faulty-host-io.ts";
import { Bench, hasQemu } from "../testing/qemu.ts";
import { createQuotaFile } from "../testing/quota-file.ts";
import { type Contents, readContents, STATE_STORY, sameContents } from "../testing/state-story.ts";
import { createQcow2 } from "./create.ts";
import { openQcow2 } from "./open.ts";
import type { Qcow2Device } from "./qcow2-device.ts";

const KIB = 1024;
const SIZE = 512 * KIB;
/** How many crashes are tried of each image, over the whole story; all of them: CRASHES=100000. */
const CRASHES = Number(process.env.CRASHES ?? 8);

async function makeImage(clusterSizeBytes: number): Promise<Uint8Array> {
  const file = createMemoryFile({ name: "disk.qcow2" });
  await createQcow2(file, { sizeBytes: SIZE, clusterSizeBytes });
  const device = await openQcow2(file);
  await device.write(0, new Uint8Array(SIZE / 2).fill(8));
  await device.flush();
  return file.toBytes();
}

/** What is to be read after each step. */
async function tell(image: Uint8Array): Promise<Contents[]> {
  const device = await openQcow2(createMemoryFile({ content: image }));
  const after = [await readContents(device)];
  for (const { run } of STATE_STORY) {
    await run(device);
    after.push(await readContents(device));
  }
  return after;
}

/** Runs the story until something fails; gives how many steps were whole and durable. */
async function runUntilFailure(device: Qcow2Device, code: string): Promise<number> {
  let done = 0;
  try {
    for (const { run } of STATE_STORY) {
      await run(device);
      await device.flush();
      done++;
    }
  } catch (error) {
    if ((error as { code?: string }).code !== code) throw error;
  }
  return done;
}

describe.skipIf(!hasQemu)("saving, loading, deleting and editing states, when it fails", () => {
  let bench: Bench;
  beforeAll(() => {
    bench = new Bench();
  });
  afterAll(() => bench.remove());

  function expectOneOf(found: Contents, after: readonly Contents[], done: number, what: string): void {
    const { writes } = STATE_STORY[done] ?? {};
    const whole = [after[done], after[done + 1]].some((each) => sameContents(each, found, !writes));
    expect(whole, `${what}: ${[...found.keys()].join(", ")}`).toBe(true);
  }

  test.each([65536, 1024])(
    "a crash on a plain file leaves each state old or new (%i-byte clusters)",
    { timeout: 600_000 },
    async (clusterSizeBytes) => {
      const image = await makeImage(clusterSizeBytes);
      const after = await tell(image);
      const open = (host: FaultyHostIo) =>
        openQcow2(createHostFile(host, { name: "disk.qcow2", writable: true }));
      const whole = createFaultyHostIo(image);
      expect(await runUntilFailure(await open(whole), "STORAGE")).toBe(STATE_STORY.length);
      let seed = 5;
      const random = (below: number) => {
        seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
        return Math.floor((seed / 2 ** 32) * below);
      };
      const step = Math.max(1, Math.floor(whole.operations / CRASHES));
      for (let failFrom = 1; failFrom < whole.operations; failFrom += step) {
        const host = createFaultyHostIo(image);
        host.failFrom = failFrom;
        const done = await runUntilFailure(await open(host), "STORAGE");
        for (const survives of [() => true, () => false, () => random(2) === 0]) {
          const crashed = host.afterCrash(survives);
          const what = `operation ${failFrom}, in ${STATE_STORY[done]?.name}`;
          bench.put("after.qcow2", crashed);
          const dirty = ((crashed[79] ?? 0) & 1) === 1;
          if (!dirty) expect(bench.checkCounts("after.qcow2").corruptions, what).toBe(0);
          spawnSync("qemu-img", ["check", "-q", "-r", "all", bench.path("after.qcow2")]);
          bench.check("after.qcow2");
          for (const bytes of [crashed, bench.bytes("after.qcow2")]) {
            const file = createMemoryFile({ content: bytes });
            const device = await openQcow2(file);
            expectOneOf(await readContents(device), after, done, what);
            // What the crash left of a save goes without a trace.
            await device.dropUnfinishedStates();
            expectOneOf(await readContents(device), after, done, what);
            bench.put("dropped.qcow2", file.toBytes());
            expect(bench.checkCounts("dropped.qcow2").corruptions, what).toBe(0);
          }
        }
      }
    },
  );

  test.each([65536, 4096])(
    "a storage that fails at any commit keeps the image before or after, in memory and stored (%i-byte clusters)",
    { timeout: 300_000 },
    async (clusterSizeBytes) => {
      const image = await makeImage(clusterSizeBytes);
      const after = await tell(image);
      const whole = createQuotaFile(image);
      expect(await runUntilFailure(await openQcow2(whole), "QUOTA_EXCEEDED")).toBe(STATE_STORY.length);
      for (let failFrom = 0; failFrom < whole.flushes; failFrom++) {
        const file = createQuotaFile(image);
        file.failFrom = failFrom;
        const device = await openQcow2(file);
        const done = await runUntilFailure(device, "QUOTA_EXCEEDED");
        const what = `flush ${failFrom}, in ${STATE_STORY[done]?.name}`;
        bench.put("stored.qcow2", file.durable());
        bench.check("stored.qcow2");
        const reopened = await openQcow2(createMemoryFile({ content: file.durable() }));
        expectOneOf(await readContents(reopened), after, done, what);

        // The machine is still there, and goes on once there is room again.
        expectOneOf(await readContents(device), after, done, what);
        file.failFrom = Number.POSITIVE_INFINITY;
        await device.dropUnfinishedStates();
        await device.write(0, Uint8Array.of(1, 2, 3));
        await device.flush();
        const names = device.snapshots.map(({ name }) => name);
        bench.put("stored.qcow2", file.durable());
        bench.check("stored.qcow2");
        expect(
          (await openQcow2(createMemoryFile({ content: file.durable() }))).snapshots.map(({ name }) => name),
        ).toEqual(names);
      }
    },
  );

  test("a save is begun without waiting for the storage; what is committed then is whole", async () => {
    const file = createQuotaFile(await makeImage(65536));
    const device = await openQcow2(file);
    await device.write(0, Uint8Array.of(1, 2, 3));
    const { flushes } = file;
    const state = await device.beginState({ maxStateBytes: 65536 });
    expect(file.flushes).toBe(flushes);
    await device.write(0, Uint8Array.of(4, 5, 6));
    await device.flush();
    bench.put("stored.qcow2", file.durable());
    bench.check("stored.qcow2");
    await state.finish({ name: "state", vmStateBytes: 65536 });
    bench.put("stored.qcow2", file.durable());
    bench.check("stored.qcow2");
    expect([...bench.guestBytes("stored.qcow2", ["-l", "state"]).subarray(0, 3)]).toEqual([1, 2, 3]);
    expect([...bench.guestBytes("stored.qcow2").subarray(0, 3)]).toEqual([4, 5, 6]);
  });

  test("a disk that is put back without a flush is stored by the next one", async () => {
    const file = createQuotaFile(await makeImage(65536));
    const device = await openQcow2(file);
    await device.createSnapshot({ name: "then" });
    await device.write(0, new Uint8Array(100_000).fill(3));
    await device.flush();
    const { flushes } = file;
    await device.applySnapshot("then", { deferFlush: true });
    expect(file.flushes).toBe(flushes);
    const first = async (bytes: Uint8Array) => {
      bench.put("stored.qcow2", bytes);
      bench.check("stored.qcow2");
      return bench.guestBytes("stored.qcow2")[0];
    };
    expect(await first(file.durable())).toBe(3);
    await device.flush();
    expect(await first(file.durable())).toBe(8);
  });

  test("a save that fills the storage goes, and the guest's next flush fits again", async () => {
    const image = await makeImage(65536);
    const file = createQuotaFile(image);
    const device = await openQcow2(file);
    await device.flush();
    file.quotaBlocks = file.sizeBytes / (32 * KIB) + 24;
    const before = await readContents(device);
    const state = await device.beginState({ maxStateBytes: 100 * 65536 });
    const save = async () => {
      for (let index = 0; index < 100; index++) {
        await state.writeCluster(index, new Uint8Array(65536).fill(index));
        // The guest writes in between: what it wrote lies among what the save wrote.
        if (index === 20) await device.write(SIZE - 4, Uint8Array.of(1));
        if (index % 8 === 7) await device.flush();
      }
    };
    await expect(save()).rejects.toMatchObject({ code: "QUOTA_EXCEEDED" });
    await state.cancel();
    await device.write(SIZE - 4, Uint8Array.of(0));
    await device.flush();
    expect(sameContents(before, await readContents(device))).toBe(true);
    bench.put("stored.qcow2", file.durable());
    bench.check("stored.qcow2");
    const reopened = await openQcow2(createMemoryFile({ content: file.durable() }));
    expect(sameContents(before, await readContents(reopened))).toBe(true);
  });

  test.each([0, 1, 2, 3, 4, 5, 6])("cancelled after %i steps, a save leaves nothing", async (steps) => {
    const made = createMemoryFile({ content: await makeImage(4096) });
    const device = await openQcow2(made);
    const plain = new Uint8Array(4096).fill(7);
    const packed = device.image.codec.compress(plain) ?? plain;
    const first = await device.beginState({ maxStateBytes: 6 * 4096 });
    await first.writeCluster(0, plain);
    await first.writePacked(1, packed);
    const parent = await first.finish({ name: "parent", vmStateBytes: 6 * 4096 });
    await device.flush();
    const before = await readContents(device);
    const usage = await device.snapshotUsage("parent");

    for (const begin of [
      () => device.beginState({ maxStateBytes: 6 * 4096 }),
      () => device.editState("parent"),
    ]) {
      const state = await begin();
      const work = [
        () => state.share(0, parent),
        () => state.share(1, parent),
        () => state.writePacked(2, packed),
        () => state.writeZeros(0, 2),
        () => state.writeCluster(1, plain),
        () => state.writePacked(1, packed),
      ];
      for (const each of work.slice(0, steps)) await each();
      await state.cancel();
      expect(sameContents(before, await readContents(device))).toBe(true);
      expect(await device.snapshotUsage("parent")).toEqual(usage);
      bench.put("cancelled.qcow2", made.toBytes());
      bench.check("cancelled.qcow2");
    }
  });
});
