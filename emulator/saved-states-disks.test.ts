import { afterEach, describe, expect, test } from "vitest";
import { copySnapshot, createMemoryFile, createQcow2, openQcow2, type Qcow2Device } from "../disk/index.ts";
import { createFaultyFile } from "../disk/testing/faulty-file.ts";
import { createQuotaFile } from "../disk/testing/quota-file.ts";
import type { HeadlessMachine } from "./node.ts";
import { SavedStates } from "./saved-states.ts";
import { directPacker } from "./state-packer.ts";
import { startTinyGuest } from "./testing/guest-line.ts";
import { emptyDisk, filled, guestDiskIn, SECTOR } from "./testing/saved-machine.ts";

const MIB = 1024 * 1024;

let machines: HeadlessMachine[] = [];
afterEach(async () => {
  for (const machine of machines) await machine.close();
  machines = [];
});

/** A machine with two disks, each in a storage that fails when a test says so. */
async function bootTwo() {
  const hdaFile = createQuotaFile(new Uint8Array(0), "hda.qcow2");
  const hda = await guestDiskIn(hdaFile);
  const hdbFile = createQuotaFile(new Uint8Array(0), "hdb.qcow2");
  await createQcow2(hdbFile, { sizeBytes: MIB });
  const hdb = await openQcow2(hdbFile);
  return { hda, hdb, hdaFile, hdbFile, ...(await bootDisks(hda, hdb)) };
}

async function bootDisks(hda: Qcow2Device, hdb: Qcow2Device) {
  const { machine, ask, booted } = await startTinyGuest({ hda, hdb });
  machines.push(machine);
  return {
    machine,
    booted,
    /** Writes a byte to both disks. */
    async write(byte: number) {
      for (const drive of ["0", "1"]) {
        await ask(drive);
        await ask(`W${SECTOR}${byte.toString(16)}`);
      }
      await machine.flush();
    },
    /** What both disks read as. */
    async read() {
      const sums: string[] = [];
      for (const drive of ["0", "1"]) {
        await ask(drive);
        sums.push(await ask(`R${SECTOR}`));
      }
      return sums;
    },
  };
}

const both = (byte: number) => [filled(byte), filled(byte)];
const names = ({ snapshots }: Qcow2Device) => snapshots.map(({ name }) => name);

/** Lets one operation fail, the `point`th from now on; returns why the work failed, and whether it was asked for. */
async function failingOnce(
  storage: { failFrom: number; failTo: number },
  operations: () => number,
  point: number,
  work: () => Promise<unknown>,
) {
  storage.failFrom = operations() + point;
  storage.failTo = storage.failFrom + 1;
  const failure = await work().then(
    () => undefined,
    (error: unknown) => error,
  );
  const hit = operations() > storage.failFrom;
  storage.failFrom = Number.POSITIVE_INFINITY;
  return { failure, hit };
}

describe("a save of two disks in the place of another", () => {
  test.each(["hdaFile", "hdbFile"] as const)(
    "is never of two moments, whichever flush of %s fails",
    async (which) => {
      const guest = await bootTwo();
      const { machine, hda, hdb, write, read } = guest;
      let failures = 0;
      for (let point = 0; ; point++) {
        await write(0x61);
        await machine.save("auto");
        await write(0x62);
        const { failure, hit } = await failingOnce(
          guest[which],
          () => guest[which].flushes,
          point,
          () => machine.save("auto"),
        );
        await write(0x63);
        await machine.load("auto");
        expect(await read(), `flush ${point}`).toEqual(both(failure ? 0x61 : 0x62));
        // What a failure left goes with the next save.
        await machine.save("auto");
        expect([names(hda), names(hdb)]).toEqual([["auto"], ["auto"]]);
        if (!hit) break;
        failures++;
      }
      expect(failures).toBeGreaterThan(1);
    },
  );
});

test("a save on plain files in the place of another leaves one of the two, whichever operation fails", {
  timeout: 120_000,
}, async () => {
  const { file, host } = createFaultyFile("hda.qcow2");
  const hda = await guestDiskIn(file);
  const hdb = await emptyDisk("hdb.qcow2");
  const { machine, write, read } = await bootDisks(hda, hdb);
  const stored = async (survives: boolean) => {
    const content = host.afterCrash(() => survives);
    return names(await openQcow2(createMemoryFile({ name: "crashed.qcow2", content })));
  };
  await write(0x61);
  await machine.save("auto");
  let [failures, made] = [0, 0];
  for (let point = 0; ; point++) {
    await write(0x62);
    const { failure, hit } = await failingOnce(
      host,
      () => host.operations,
      point,
      () => machine.save("auto"),
    );
    if (machine.state === "error") await machine.retry();
    for (const survives of [true, false]) expect(await stored(survives)).toContain("auto");
    const listed = () => machine.snapshots().map(({ name }) => name);
    expect(listed(), `operation ${point}`).toEqual(["auto"]);
    await machine.flush();
    expect(await stored(false)).toContain("auto");
    await write(0x63);
    await machine.load("auto");
    const after = await read();
    expect([both(0x61), both(0x62)]).toContainEqual(after);
    if (!hit) break;
    if (failure) failures++;
    if (failure && after[0] === filled(0x62)) made++;
    if (after[0] === filled(0x61)) continue;
    await write(0x61);
    await machine.save("auto");
  }
  expect(failures).toBeGreaterThan(made);
  expect(made).toBeGreaterThan(0);
});

describe("a deletion of a state of two disks", () => {
  test.each(["hdaFile", "hdbFile"] as const)(
    "is whole or undone, whichever flush of %s fails",
    async (which) => {
      const guest = await bootTwo();
      const { machine, hda, hdb, write, read } = guest;
      const file = guest[which];
      let failures = 0;
      for (let point = 0; ; point++) {
        await write(0x61);
        await machine.save("one");
        await write(0x62);
        const remove = () => machine.deleteSnapshot("one");
        const { failure, hit } = await failingOnce(file, () => file.flushes, point, remove);
        if (failure) {
          await machine.load("one");
          expect(await read(), `flush ${point}`).toEqual(both(0x61));
          await machine.deleteSnapshot("one");
          failures++;
        }
        await machine.save("next");
        expect([names(hda), names(hdb)]).toEqual([["next"], ["next"]]);
        await machine.deleteSnapshot("next");
        if (!hit) break;
      }
      expect(failures).toBeGreaterThan(0);
    },
  );

  test.each(["hdaFile", "hdbFile"] as const)(
    "leaves nothing that nobody lists when %s is lost on the way",
    async (which) => {
      const guest = await bootTwo();
      const { machine, hdaFile, hdbFile } = guest;
      const file = guest[which];
      for (let point = 0; ; point++) {
        await machine.save("one");
        await machine.save("two");
        file.failFrom = file.flushes + point;
        file.failTo = Number.POSITIVE_INFINITY;
        await machine.deleteSnapshot("one").catch(() => undefined);
        const hit = file.flushes > file.failFrom;
        // What a page finds that is opened again.
        const open = (content: Uint8Array) => openQcow2(createMemoryFile({ name: "again.qcow2", content }));
        const [hda, hdb] = [await open(hdaFile.durable()), await open(hdbFile.durable())];
        const states = new SavedStates({ hda, hdb }, directPacker, () => ["hda", "hdb"]);
        await states.prepare({ name: "next", description: undefined });
        expect(names(hda)).toEqual(expect.arrayContaining(names(hdb)));
        expect(names(hdb)).toContain("two");
        file.failFrom = Number.POSITIVE_INFINITY;
        if (!hit) break;
      }
    },
  );
});

describe("the other disk's snapshot", () => {
  test("is never one of another moment, to load and to delete", async () => {
    const { machine, hda, hdb, write, read } = await bootTwo();
    await write(0x61);
    await machine.save("one");
    await hdb.deleteSnapshot("one");
    await write(0x62);
    const other = await hdb.createSnapshot({ name: "one", dateSeconds: 1 });
    await write(0x63);
    for (const diskOnly of [false, true])
      await expect(machine.load("one", { diskOnly })).rejects.toMatchObject({ code: "SNAPSHOT_NOT_FOUND" });
    expect(await read()).toEqual(both(0x63));
    await machine.editSnapshot("one", { name: "uno" });
    await machine.deleteSnapshot("uno");
    expect([hda.snapshots, hdb.snapshots]).toEqual([[], [other]]);
  });

  test("is found by name and moment in a copy, which numbers anew", async () => {
    const { machine, hda, hdb, hdaFile, hdbFile, write } = await bootTwo();
    await write(0x61);
    await machine.save("early");
    await machine.save("one");
    await write(0x62);
    await machine.close();
    const copies: Qcow2Device[] = [];
    for (const [device, file] of [
      [hda, hdaFile],
      [hdb, hdbFile],
    ] as const) {
      const copy = createMemoryFile({ name: file.name });
      await createQcow2(copy, { sizeBytes: device.sizeBytes });
      const to = await openQcow2(copy);
      // In another order: "early" has the id now that the state says of "one".
      for (const snapshot of ["one", "early"]) await copySnapshot(device, snapshot, to);
      if (device === hdb) await to.createSnapshot({ name: "one", dateSeconds: 2 });
      copies.push(to);
    }
    const [hda2, hdb2] = copies;
    if (!hda2 || !hdb2) throw new Error("no copies");
    const again = await bootDisks(hda2, hdb2);
    await again.machine.load("one");
    expect(await again.read()).toEqual(both(0x61));
    await again.machine.deleteSnapshot("one");
    expect(hdb2.snapshots.map(({ name, dateSeconds }) => [name, dateSeconds])).toEqual([
      ["early", expect.any(Number)],
      ["one", 2],
    ]);
  });

  test("of snapshots without a machine's state, made disk by disk, is the newest of the name", async () => {
    const { machine, hda, hdb, booted, write, read } = await bootTwo();
    await write(0x61);
    await hda.createSnapshot({ name: "disks", dateSeconds: 2 });
    await hdb.createSnapshot({ name: "disks", dateSeconds: 1 });
    await write(0x62);
    await machine.load("disks");
    await booted();
    expect(await read()).toEqual(both(0x61));
  });
});
