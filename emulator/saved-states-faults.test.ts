import { afterEach, describe, expect, test, vi } from "vitest";
import {
  type BlockFile,
  checkQcow2,
  createMemoryFile,
  createQcow2,
  openQcow2,
  type Qcow2Device,
} from "../disk/index.ts";
import { createFaultyFile } from "../disk/testing/faulty-file.ts";
import { Bench, hasQemu } from "../disk/testing/qemu.ts";
import { createQuotaFile } from "../disk/testing/quota-file.ts";
import { nodePacker } from "./node-packer.ts";
import { SavedStates } from "./saved-states.ts";
import { type GuestLine, guestSlices, startTinyGuest } from "./testing/guest-line.ts";
import {
  filled,
  fillWithNoise,
  guestDisk,
  guestDiskIn,
  memoryOf,
  partsOf,
  READY,
  SECTOR,
  SPARE_ADDRESS,
} from "./testing/saved-machine.ts";

const MIB = 1024 * 1024;

let guests: GuestLine[] = [];
afterEach(async () => {
  for (const guest of guests) await guest.machine.close();
  guests = [];
});

async function boot(disks: Parameters<typeof startTinyGuest>[0]): Promise<GuestLine> {
  const guest = await startTinyGuest(disks);
  guests.push(guest);
  return guest;
}

/** A save on a plain file makes some 60 writes and syncs; each failure takes a tenth of a second. */
const PLAIN_FILE_STRIDE = Number(process.env.STRIDE ?? 7);

/** The low byte of the header's incompatible features; its first bit: counts are to be repaired. */
const DIRTY_BYTE = 79;

/** A storage that fails when a test says so. */
interface Storage {
  readonly file: BlockFile;
  /** How many operations lie between two that are made to fail. */
  readonly stride: number;
  /** Operations it was asked for so far. */
  operations(): number;
  /** It fails from this one on. */
  failFrom(operation: number): void;
  /** What is there once the power has gone, with more or less of what was not yet synced. */
  afterCrash(seed: number): Uint8Array<ArrayBuffer>;
}

const STORAGES: readonly [name: string, () => Storage][] = [
  [
    "a browser's storage",
    () => {
      const file = createQuotaFile(new Uint8Array(0), "hda.qcow2");
      return {
        file,
        stride: 1,
        operations: () => file.flushes,
        failFrom: (operation) => {
          file.failFrom = operation;
        },
        afterCrash: () => file.durable(),
      };
    },
  ],
  [
    "a plain file",
    () => {
      const { file, host } = createFaultyFile("hda.qcow2");
      return {
        file,
        stride: PLAIN_FILE_STRIDE,
        operations: () => host.operations,
        failFrom: (operation) => {
          host.failFrom = operation;
        },
        afterCrash: (seed) => host.afterCrash((position) => (Math.imul(position + 1, seed) >>> 7) % 2 === 0),
      };
    },
  ],
];

const OPERATIONS: readonly [name: string, (machine: GuestLine["machine"]) => Promise<unknown>][] = [
  ["a save", (machine) => machine.save("two")],
  ["a save in the place of another", (machine) => machine.save("old")],
  ["a suspend", (machine) => machine.save("two", { thenStop: true })],
  ["a load", (machine) => machine.load("one")],
  ["an edit", (machine) => machine.editSnapshot("old", { name: "older", description: "changed" })],
  ["a deletion", (machine) => machine.deleteSnapshot("old")],
];

/** Reads every finished state of an image whole, and holds it against its fingerprints. */
async function readStates(device: Qcow2Device): Promise<string[]> {
  const states = new SavedStates({ hda: device }, nodePacker, () => ["hda"]);
  const names: string[] = [];
  for (const { id, name } of states.disks.list()) {
    const opened = await states.open(id, false);
    if (!("header" in opened)) throw new Error(`${name} has no state`);
    await states.read(opened, { put: () => undefined, signal: undefined });
    names.push(name);
  }
  return names;
}

describe.each(STORAGES)("on %s", (_storage, create) => {
  test.each(OPERATIONS)(
    "%s that fails at any point leaves machine and image whole",
    async (name, operation) => {
      const bench = hasQemu ? new Bench() : undefined;
      const storage = create();
      const device = await guestDiskIn(storage.file);
      const { machine, ask } = await boot({ hda: device });
      await ask(`W${SECTOR}11`);
      await machine.save("one");
      memoryOf(machine).fill(0xab, SPARE_ADDRESS, SPARE_ADDRESS + 300_000);
      await machine.save("old");
      await ask(`W${SECTOR}22`);
      await machine.flush();

      let point = 0;
      for (let done = false; !done; point += storage.stride) {
        storage.failFrom(storage.operations() + point);
        const failure = await operation(machine).then(
          () => undefined,
          (error: unknown) => error,
        );
        done = failure === undefined;
        // Whatever the storage holds now, it is an image whose states can all be loaded.
        const content = storage.afterCrash(point + 3);
        if (bench) {
          bench.put("crashed.qcow2", content);
          const { corruptions, leaks } = bench.checkCounts("crashed.qcow2");
          // On a plain file counts may be too high, and the dirty bit says that they are to be repaired first.
          const dirty = ((content[DIRTY_BYTE] ?? 0) & 1) === 1;
          if (!dirty) expect(corruptions).toBe(0);
          if (storage.file.transactional) expect({ dirty, leaks }).toEqual({ dirty: false, leaks: 0 });
        }
        const crashed = await openQcow2(createMemoryFile({ name: "crashed.qcow2", content }));
        expect(await readStates(crashed)).toEqual(expect.arrayContaining(["one"]));
        storage.failFrom(Number.POSITIVE_INFINITY);
        if (done) break;
        expect(failure).toMatchObject({ code: expect.stringMatching(/^(QUOTA_EXCEEDED|STORAGE)$/) });
        if (machine.state === "error") await machine.retry();
        expect(machine.state).toBe("running");
        const sector = await ask(`R${SECTOR}`);
        expect([filled(0x22), filled(0x11)]).toContain(sector);
        expect(await readStates(device)).toEqual(expect.arrayContaining(["one"]));
        expect(await ask(`W${SECTOR}22`)).toBe(READY);
        // A plain file keeps what it could not write: the change may have been made, and not been durable.
        if (machine.snapshots().some(({ name }) => name === "older")) await machine.deleteSnapshot("older");
        if (!machine.snapshots().some(({ name }) => name === "old")) await machine.save("old");
        await machine.flush();
      }
      // A load asks a storage with transactions for nothing: the guest's next flush makes it durable.
      if (name !== "a load" || !storage.file.transactional) expect(point).toBeGreaterThan(0);
      if (machine.state === "stopped") await machine.load("two");
      expect(machine.state).toBe("running");
      await machine.load("one");
      expect(await ask(`R${SECTOR}`)).toBe(filled(0x11));
      bench?.remove();
    },
  );
});

describe("a save", () => {
  test("that is cancelled, at whatever step, leaves nothing behind", async () => {
    const { file, device } = await guestDisk();
    const { machine, ask } = await boot({ hda: device });
    await machine.save("one");
    fillWithNoise(memoryOf(machine).subarray(SPARE_ADDRESS, SPARE_ADDRESS + 2 * MIB));
    await machine.flush();
    let steps = 0;
    for (let step = 0; ; step++) {
      const cancel = new AbortController();
      if (step === 0) cancel.abort();
      steps = 0;
      const save = machine.save("two", {
        signal: cancel.signal,
        onProgress: () => {
          steps++;
          if (steps === step) cancel.abort();
        },
      });
      const failure = await save.then(
        () => undefined,
        (error: unknown) => error,
      );
      // The last step is told of when all is done.
      if (!failure) break;
      expect(failure).toMatchObject({ code: "CANCELLED" });
      expect(device.snapshots.map(({ name }) => name)).toEqual(["one"]);
      await machine.flush();
      expect(await checkQcow2(file)).toMatchObject({ corruptions: 0, leaks: 0 });
      expect(await ask("Eon\n")).toBe("on");
    }
    expect(steps).toBeGreaterThan(3);
    expect(machine.snapshots().map(({ name }) => name)).toEqual(["one", "two"]);
  });

  test("that the machine's end comes into leaves nothing behind", async () => {
    const { device } = await guestDisk();
    const { machine } = await boot({ hda: device });
    let started = () => {};
    const writing = new Promise<void>((resolve) => {
      started = resolve;
    });
    const save = machine.save("one", { onProgress: () => started() });
    const failed = expect(save).rejects.toMatchObject({ code: "CANCELLED" });
    await writing;
    await machine.close();
    expect(device.snapshots).toEqual([]);
    await failed;
  });

  test("goes on while the guest writes, and is not what it wrote meanwhile", async () => {
    const { device } = await guestDisk();
    const { machine, ask } = await boot({ hda: device });
    await ask(`W${SECTOR}31`);
    fillWithNoise(memoryOf(machine).subarray(SPARE_ADDRESS, SPARE_ADDRESS + 3 * MIB));
    const writes: Promise<string>[] = [];
    await machine.save("one", {
      onProgress: () => {
        memoryOf(machine).fill(0, SPARE_ADDRESS, SPARE_ADDRESS + MIB);
        if (writes.length === 0) writes.push(ask(`W${SECTOR}32`));
      },
    });
    expect(await writes[0]).toBe(READY);
    await machine.load("one");
    expect(await ask(`R${SECTOR}`)).toBe(filled(0x31));
    const expected = new Uint8Array(3 * MIB);
    fillWithNoise(expected);
    expect(Buffer.compare(memoryOf(machine).subarray(SPARE_ADDRESS, SPARE_ADDRESS + 3 * MIB), expected)).toBe(
      0,
    );
  });

  test("that a reset comes into while a disk is waited for is called off, and leaves the state of its name", async () => {
    const { device } = await guestDisk();
    const { machine, ask, tell, booted } = await boot({ hda: device });
    await machine.save("one");
    let release = () => {};
    const asked = new Promise<void>((resolve) => {
      vi.spyOn(device, "readNow").mockReturnValueOnce(false);
      vi.spyOn(device, "read").mockImplementationOnce(() => {
        resolve();
        return new Promise((done) => {
          release = done;
        });
      });
    });
    tell(`r${SECTOR}`);
    await asked;
    const save = expect(machine.save("one")).rejects.toMatchObject({ code: "CANCELLED" });
    const { emulator } = partsOf(machine);
    while (emulator.is_running()) await guestSlices(1);
    const reset = machine.reset();
    await save;
    release();
    await reset;
    await booted();
    await machine.load("one");
    expect(await ask("Eon\n")).toBe("on");
  });

  test("of a machine in an error or switched off is refused", async () => {
    const { device } = await guestDisk();
    const { machine } = await boot({ hda: device });
    await machine.powerOff();
    await expect(machine.save("one")).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    expect(device.snapshots).toEqual([]);
  });
});

describe("a load", () => {
  test("is cancelled before anything has changed", async () => {
    const { device } = await guestDisk();
    const { machine, ask } = await boot({ hda: device });
    await machine.save("one");
    await ask(`W${SECTOR}41`);
    memoryOf(machine).fill(7, SPARE_ADDRESS, SPARE_ADDRESS + MIB);
    const cancel = new AbortController();
    const load = machine.load("one", { signal: cancel.signal, onProgress: () => cancel.abort() });
    await expect(load).rejects.toMatchObject({ code: "CANCELLED" });
    expect(machine.state).toBe("running");
    expect(await ask(`R${SECTOR}`)).toBe(filled(0x41));
    expect(memoryOf(machine)[SPARE_ADDRESS]).toBe(7);
  });

  test.each([
    ["memory that packs", 2, false],
    ["a cluster of zeros that was none", 2, true],
    ["the devices", 18, false],
  ])(
    "of a damaged state (%s) says so and leaves the machine; its disk can be booted",
    async (_what, atMiB, zero) => {
      const { device } = await guestDisk();
      const saving = await boot({ hda: device });
      await saving.ask(`W${SECTOR}51`);
      await saving.machine.save("one");
      await saving.ask(`W${SECTOR}52`);
      await saving.machine.close();
      // The low memory, where the guest itself is.
      const index = (atMiB * MIB) / device.header.clusterSizeBytes;
      const damage = await device.editState("one");
      const { vmStateBytes } = device.snapshots[0] ?? { vmStateBytes: 0 };
      if (zero) await damage.writeZeros(index, 1);
      else await damage.writeCluster(index, new Uint8Array(device.header.clusterSizeBytes).fill(1));
      await damage.finish({ name: "one", vmStateBytes });
      // Another machine: the one that saved it has it in memory still.
      const { machine, ask, booted } = await boot({ hda: device });
      await expect(machine.load("one")).rejects.toMatchObject({ code: "STATE_INVALID" });
      expect(machine.state).toBe("running");
      expect(await ask(`R${SECTOR}`)).toBe(filled(0x52));
      await machine.load("one", { diskOnly: true });
      await booted();
      expect(await ask(`R${SECTOR}`)).toBe(filled(0x51));
    },
  );

  test("of another emulator's state says so, in its description too", async () => {
    const { device } = await guestDisk();
    const { machine, ask } = await boot({ hda: device });
    await machine.save("one");
    const reader = await device.openState("one");
    const header = new Uint8Array(device.header.clusterSizeBytes);
    await reader.read(0, header);
    const changed = Buffer.from(header).toString("latin1").replace("v86 0.5.462", "v86 0.5.999");
    const edit = await device.editState("one");
    await edit.writeCluster(0, new Uint8Array(Buffer.from(changed, "latin1")));
    await edit.finish({ name: "one", vmStateBytes: reader.sizeBytes });
    await expect(machine.load("one")).rejects.toMatchObject({ code: "STATE_MISMATCH" });
    expect(await machine.describeSnapshot("one")).toMatchObject({ problem: { code: "STATE_MISMATCH" } });
    expect(await ask("Eon\n")).toBe("on");
  });

  test("puts all disks back or none", async () => {
    const { device: hda } = await guestDisk();
    const { file, host } = createFaultyFile("hdb.qcow2");
    await createQcow2(file, { sizeBytes: MIB });
    const hdb = await openQcow2(file);
    const { machine, ask } = await boot({ hda, hdb });
    const write = async (byte: string) => {
      for (const drive of ["0", "1"]) {
        await ask(drive);
        await ask(`W${SECTOR}${byte}`);
      }
    };
    const read = async () => {
      const sums: string[] = [];
      for (const drive of ["0", "1"]) {
        await ask(drive);
        sums.push(await ask(`R${SECTOR}`));
      }
      return sums;
    };
    await write("61");
    await machine.save("one");
    await write("62");
    await machine.flush();
    let failures = 0;
    for (let point = 0; ; point++) {
      host.failFrom = host.operations + point;
      const failure = await machine.load("one").then(
        () => undefined,
        (error: unknown) => error,
      );
      host.failFrom = Number.POSITIVE_INFINITY;
      if (!failure) break;
      failures++;
      // Put back and not durable, or as before; never one so and the other so.
      if (machine.state === "error") await machine.retry();
      const sums = await read();
      expect([filled(0x61), filled(0x62)]).toContain(sums[0]);
      expect(sums[1]).toBe(sums[0]);
      await write("62");
      await machine.flush();
    }
    expect(failures).toBeGreaterThan(3);
    expect(await read()).toEqual([filled(0x61), filled(0x61)]);
    expect(machine.snapshots().map(({ name }) => name)).toEqual(["one"]);
    // A disk that has no snapshot of it.
    await hdb.deleteSnapshot("one");
    await write("63");
    await expect(machine.load("one")).rejects.toMatchObject({ code: "SNAPSHOT_NOT_FOUND" });
    expect(await read()).toEqual([filled(0x63), filled(0x63)]);
  });
});
