import { afterEach, describe, expect, test } from "vitest";
import { createMemoryFile, openRawDevice } from "../disk/index.ts";
import type { MachineDisks } from "./machine.ts";
import { startHeadlessMachine } from "./node.ts";
import { type GuestLine, guestLine, startTinyGuest } from "./testing/guest-line.ts";
import {
  emptyDisk,
  filled,
  fillWithNoise,
  guestDisk,
  memoryOf,
  openCopy,
  partsOf,
  READY,
  SECTOR,
  SPARE_ADDRESS,
} from "./testing/saved-machine.ts";
import { tinyGuestImage } from "./testing/tiny-guest.ts";

const MIB = 1024 * 1024;

let guests: GuestLine[] = [];
afterEach(async () => {
  for (const guest of guests) await guest.machine.close();
  guests = [];
});

async function boot(disks: MachineDisks): Promise<GuestLine> {
  const guest = await startTinyGuest(disks);
  guests.push(guest);
  return guest;
}

describe("a saved machine", () => {
  test("goes on where it was, memory and disk, as often as it is loaded", async () => {
    const { device } = await guestDisk();
    const guest = await boot({ hda: device });
    const { machine } = guest;
    expect(await guest.ask(`W${SECTOR}11`)).toBe(READY);
    memoryOf(guest.machine).fill(0xab, SPARE_ADDRESS, SPARE_ADDRESS + 200_000);
    const steps: number[] = [];
    await machine.save("one", { onProgress: (fraction) => steps.push(fraction) });
    expect(machine.state).toBe("running");
    expect(steps.at(-1)).toBe(1);
    expect(machine.snapshots().map(({ name }) => name)).toEqual(["one"]);
    for (let round = 0; round < 5; round++) {
      expect(await guest.ask(`W${SECTOR}22`)).toBe(READY);
      memoryOf(guest.machine).fill(round, SPARE_ADDRESS, SPARE_ADDRESS + MIB);
      await machine.load("one");
      expect(memoryOf(guest.machine)[SPARE_ADDRESS + 100_000]).toBe(0xab);
      expect(memoryOf(guest.machine)[SPARE_ADDRESS + 300_000]).toBe(0);
      expect(await guest.ask(`R${SECTOR}`)).toBe(filled(0x11));
      expect(await guest.ask(`r${SECTOR}`)).toBe(filled(0x11));
    }
  });

  test("is loaded by another machine of the same configuration, from the file alone", async () => {
    const { file, device } = await guestDisk();
    const guest = await boot({ hda: device });
    await guest.ask(`W${SECTOR}33`);
    await guest.machine.save("ready");
    await guest.ask(`W${SECTOR}44`);
    await device.flush();
    const again = await openCopy(file);
    const other = await boot({ hda: again });
    await other.machine.load("ready");
    expect(await other.ask(`R${SECTOR}`)).toBe(filled(0x33));
  });

  test("shares with the save before it what has not changed", async () => {
    const { file, device } = await guestDisk();
    const guest = await boot({ hda: device });
    const noise = memoryOf(guest.machine).subarray(SPARE_ADDRESS, SPARE_ADDRESS + 3 * MIB);
    fillWithNoise(noise);
    const start = file.sizeBytes;
    await guest.machine.save("first");
    const first = file.sizeBytes - start;
    noise[0] = 1;
    await guest.machine.save("second");
    expect(file.sizeBytes - start - first).toBeLessThan(first * 0.2);
    // A load is a descent too.
    await guest.machine.load("first");
    await guest.machine.save("third");
    expect(file.sizeBytes - start - first).toBeLessThan(first * 0.4);
    await guest.machine.deleteSnapshot("first");
    await guest.machine.load("third");
    expect(await guest.ask(`R${SECTOR}`)).toBe(filled(0));
  });

  test("takes all its disks along, forth and back", async () => {
    const { device: hda } = await guestDisk();
    const hdb = await emptyDisk("hdb.qcow2");
    const guest = await boot({ hda, hdb });
    await guest.ask("1");
    await guest.ask(`W${SECTOR}55`);
    await guest.machine.save("both");
    expect(hdb.snapshots.map(({ name }) => name)).toEqual(["both"]);
    await guest.ask(`W${SECTOR}66`);
    await guest.machine.load("both");
    expect(await guest.ask(`R${SECTOR}`)).toBe(filled(0x55));
    await guest.machine.deleteSnapshot("both");
    expect([...hda.snapshots, ...hdb.snapshots]).toEqual([]);
  });

  test("asked for twice at once, and loaded meanwhile, is done in turn", async () => {
    const { device } = await guestDisk();
    const guest = await boot({ hda: device });
    await guest.ask(`W${SECTOR}77`);
    const { machine } = guest;
    await Promise.all([machine.save("a"), machine.save("b"), machine.load("a"), machine.deleteSnapshot("b")]);
    expect(machine.snapshots().map(({ name }) => name)).toEqual(["a"]);
    expect(await guest.ask(`R${SECTOR}`)).toBe(filled(0x77));
  });

  test("that does not fit, is damaged or is not there leaves the machine as it is", async () => {
    const { device } = await guestDisk();
    const guest = await boot({ hda: device });
    await guest.ask(`W${SECTOR}12`);
    await expect(guest.machine.load("none")).rejects.toMatchObject({ code: "SNAPSHOT_NOT_FOUND" });
    await device.writeVmState(0, new TextEncoder().encode("no state of ours"));
    await device.createSnapshot({ name: "strange", vmStateBytes: 100_000 });
    await expect(guest.machine.load("strange")).rejects.toMatchObject({ code: "STATE_INVALID" });
    await guest.ask(`W${SECTOR}13`);
    expect(await guest.ask(`R${SECTOR}`)).toBe(filled(0x13));
  });

  test("without a state of its own starts its disk as it was", async () => {
    const { device } = await guestDisk();
    const guest = await boot({ hda: device });
    await guest.ask(`W${SECTOR}21`);
    await device.createSnapshot({ name: "disk only" });
    await guest.ask(`W${SECTOR}22`);
    await guest.machine.load("disk only");
    await guest.booted();
    expect(await guest.ask(`R${SECTOR}`)).toBe(filled(0x21));
  });

  test("takes the place of the one of its name, on all disks", async () => {
    const { device: hda } = await guestDisk();
    const hdb = await emptyDisk("hdb.qcow2");
    const guest = await boot({ hda, hdb });
    const { machine } = guest;
    await machine.save("quick");
    await guest.ask("1");
    await guest.ask(`W${SECTOR}01`);
    const second = await machine.save("quick");
    for (const disk of [hda, hdb]) expect(disk.snapshots.map(({ name }) => name)).toEqual(["quick"]);
    expect(machine.snapshots()).toEqual([second]);
    await guest.ask(`W${SECTOR}02`);
    await machine.load("quick");
    expect(await guest.ask(`R${SECTOR}`)).toBe(filled(0x01));
  });

  test("is described, and its name and description are changed", async () => {
    const { file, device: hda } = await guestDisk();
    const hdb = await emptyDisk("hdb.qcow2");
    const guest = await boot({ hda, hdb });
    const { machine } = guest;
    await guest.ask(`W${SECTOR}03`);
    const before = Date.now();
    const { id } = await machine.save("one", { description: "Grüße" });
    await hda.createSnapshot({ name: "disk only" });
    expect(await machine.describeSnapshot("one")).toMatchObject({
      id,
      name: "one",
      description: "Grüße",
      hasState: true,
      configuration: { memoryMiB: 16, vgaMemoryMiB: 1, acpi: true, bootOrder: "disk" },
      ownBytes: expect.any(Number),
    });
    const { savedAtMs, ownBytes, sharedBytes } = await machine.describeSnapshot(id);
    expect(savedAtMs).toBeGreaterThanOrEqual(before);
    expect(ownBytes).toBeGreaterThan(64 * 1024);
    expect(sharedBytes).toBeGreaterThan(0);
    expect(await machine.describeSnapshot("disk only")).toMatchObject({ description: "", hasState: false });

    await machine.editSnapshot("one", { name: "uno", description: "x".repeat(4096) });
    expect(hdb.snapshots.map(({ name }) => name)).toEqual(["uno"]);
    expect(await machine.describeSnapshot("uno")).toMatchObject({
      id,
      description: "x".repeat(4096),
      savedAtMs,
    });
    await machine.editSnapshot("uno", { description: "" });
    expect((await machine.describeSnapshot("uno")).description).toBe("");
    await machine.editSnapshot("disk only", { name: "the disk" });
    for (const [name, change] of [
      ["uno", { name: "the disk" }],
      ["uno", { name: "" }],
      ["uno", { description: "x".repeat(4097) }],
      ["the disk", { description: "no room for it" }],
    ] as const)
      await expect(machine.editSnapshot(name, change)).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    await expect(machine.editSnapshot("none", { name: "x" })).rejects.toMatchObject({
      code: "SNAPSHOT_NOT_FOUND",
    });
    // What is saved next still shares with the one that was changed.
    const start = file.sizeBytes;
    await machine.save("two");
    expect(file.sizeBytes - start).toBeLessThan(300_000);
    await guest.ask(`W${SECTOR}04`);
    await machine.load("uno");
    expect(await guest.ask(`R${SECTOR}`)).toBe(filled(0x03));
  });

  test("and switched off goes on where it was when it is loaded", async () => {
    const { device } = await guestDisk();
    const guest = await boot({ hda: device });
    const { machine } = guest;
    await guest.ask(`W${SECTOR}05`);
    const states: string[] = [];
    machine.onChange(() => states.push(machine.state));
    await machine.save("suspended", { thenStop: true });
    expect(states).toEqual(["paused", "stopped"]);
    expect(device.dirtyBytes).toBe(0);
    await machine.load("suspended");
    expect(machine.state).toBe("running");
    expect(await guest.ask(`R${SECTOR}`)).toBe(filled(0x05));
  });

  test("shows the end of its serial output again", async () => {
    const { device } = await guestDisk();
    const guest = await boot({ hda: device });
    const { machine } = guest;
    for (let i = 0; i < 12; i++) await guest.ask(`E${"y".repeat(1000)}${i}\n`);
    await machine.save("here");
    await guest.ask("Eafter\n");
    const resets: string[] = [];
    machine.serial.onReset((text) => resets.push(text));
    await machine.load("here");
    expect(resets).toEqual([machine.serial.text()]);
    expect(resets[0]?.length).toBeLessThanOrEqual(8192);
    expect(resets[0]).toMatch(/^(y{1000}\d+\n)+$/);
    expect(resets[0]).toMatch(/y11\n$/);
    expect(await guest.ask("Eon\n")).toBe("on");
  });

  test("shows nothing that the terminal had been told to forget", async () => {
    const { device } = await guestDisk();
    const { machine, ask } = await boot({ hda: device });
    await ask("Egone\n");
    await ask("E\x1bcthere\n");
    await machine.save("here");
    await machine.load("here");
    expect(machine.serial.text()).toBe("there\n");
  });

  test("brings its own memory size to a machine of another, in the same machine", async () => {
    const { device } = await guestDisk();
    const small = await boot({ hda: device });
    await small.ask(`W${SECTOR}06`);
    memoryOf(small.machine).fill(0xcd, SPARE_ADDRESS, SPARE_ADDRESS + 1000);
    await small.machine.save("small");
    await small.machine.close();

    const large = await startTinyGuest({ hda: device }, { memoryMiB: 24, vgaMemoryMiB: 2, acpi: false });
    guests.push(large);
    const { machine, ask } = large;
    const heard: string[] = [];
    machine.serial.onOutput((text) => heard.push(text));
    await ask(`W${SECTOR}07`);
    await machine.save("large");
    for (let round = 0; round < 2; round++) {
      await machine.load("small");
      expect(machine.configuration).toEqual({
        memoryMiB: 16,
        vgaMemoryMiB: 1,
        acpi: true,
        bootOrder: "disk",
      });
      expect(memoryOf(machine).length).toBe(16 * MIB);
      expect(memoryOf(machine)[SPARE_ADDRESS + 999]).toBe(0xcd);
      expect(await ask(`R${SECTOR}`)).toBe(filled(0x06));
      await machine.load("large");
      expect(machine.configuration).toMatchObject({ memoryMiB: 24, vgaMemoryMiB: 2, acpi: false });
      expect(await ask(`r${SECTOR}`)).toBe(filled(0x07));
    }
    heard.length = 0;
    expect(await ask("Eheard\n")).toBe("heard");
    expect(heard.join("")).toBe("heard\n");
    await machine.reset();
    await large.booted();
    expect(await ask(`R${SECTOR}`)).toBe(filled(0x07));
  });

  test("keeps how long the guest has run, on all disks", async () => {
    const { device: hda } = await guestDisk();
    const hdb = await emptyDisk("hdb.qcow2");
    const { machine, ask, booted } = await boot({ hda, hdb });
    const clocks: bigint[] = [];
    for (const name of ["first", "second"]) {
      await ask("Eran\n");
      clocks.push((await machine.save(name)).vmClockNanoseconds);
    }
    const [first = 0n, second = 0n] = clocks;
    expect(first).toBeGreaterThan(0n);
    expect(second).toBeGreaterThan(first);
    expect(hdb.snapshots.map(({ vmClockNanoseconds }) => vmClockNanoseconds)).toEqual(clocks);
    await machine.load("first");
    await machine.pause();
    const loaded = (await machine.save("loaded")).vmClockNanoseconds;
    expect(loaded).toBeGreaterThanOrEqual(first);
    // A machine that stands still does not age.
    expect((await machine.save("still")).vmClockNanoseconds).toBe(loaded);
    // Eleven days.
    const long = 10n ** 15n;
    const { vmStateBytes } = machine.snapshots()[1] ?? { vmStateBytes: 0 };
    const edit = await hda.editState("second");
    await edit.finish({ name: "second", vmStateBytes, vmClockNanoseconds: long });
    await machine.load("second");
    expect((await machine.save("later")).vmClockNanoseconds).toBeGreaterThan(long);
    await machine.reset();
    await booted();
    expect((await machine.save("reset")).vmClockNanoseconds).toBeLessThan(long);
  });

  test.each([
    ["it was saved in", false],
    ["was started from it", true],
  ])("is not unpacked again by the machine that %s", async (_which, other) => {
    const { device } = await guestDisk();
    const saving = await boot({ hda: device });
    fillWithNoise(memoryOf(saving.machine).subarray(SPARE_ADDRESS, SPARE_ADDRESS + 3 * MIB));
    await saving.machine.save("here");
    let { machine } = saving;
    if (other) {
      await machine.close();
      machine = await startHeadlessMachine({
        disks: { hda: device },
        startFrom: { device, snapshot: "here" },
      });
      guests.push(guestLine(machine));
    }
    memoryOf(machine)[SPARE_ADDRESS + MIB] = 1;
    let total = -1;
    await machine.load("here", {
      onProgress: ({ totalBytes }) => {
        total = totalBytes;
      },
    });
    if (other) expect(total).toBeGreaterThan(0);
    expect(total).toBeLessThan(other ? MIB : 1);
    const expected = new Uint8Array(3 * MIB);
    fillWithNoise(expected);
    const memory = memoryOf(machine).subarray(SPARE_ADDRESS, SPARE_ADDRESS + 3 * MIB);
    expect(Buffer.compare(memory, expected)).toBe(0);
  });

  test("is loaded without its state when only the disk is wanted", async () => {
    const { device } = await guestDisk();
    const guest = await boot({ hda: device });
    await guest.ask(`W${SECTOR}08`);
    await guest.machine.save("here");
    await guest.ask(`W${SECTOR}09`);
    await guest.machine.load("here", { diskOnly: true });
    await guest.booted();
    expect(await guest.ask(`R${SECTOR}`)).toBe(filled(0x08));
  });

  test("of before a disk grew brings the disk's size back", async () => {
    const { device } = await guestDisk();
    const guest = await boot({ hda: device });
    await guest.machine.save("small");
    await guest.machine.powerOff();
    await device.resize(8 * MIB);
    await guest.machine.load("small", { diskOnly: true });
    await guest.booted();
    const { ide } = partsOf(guest.machine).emulator.v86.cpu.devices;
    expect(ide?.primary?.master.sector_count).toBe((4 * MIB) / 512);
  });

  test("without a qcow2 disk of its own goes into the image for states", async () => {
    const floppy = openRawDevice(createMemoryFile({ name: "a.img", content: tinyGuestImage(1440 * 1024) }));
    const state = await emptyDisk("states.qcow2", 64 * 1024);
    const guest = await startTinyGuest({ floppy, state }, { bootOrder: "floppy" });
    guests.push(guest);
    const { machine, ask } = guest;
    memoryOf(machine)[SPARE_ADDRESS] = 0x21;
    await machine.save("from a floppy");
    expect(state.snapshots.map(({ name }) => name)).toEqual(["from a floppy"]);
    memoryOf(machine)[SPARE_ADDRESS] = 0x22;
    await machine.load("from a floppy");
    expect(memoryOf(machine)[SPARE_ADDRESS]).toBe(0x21);
    expect(await ask("Eon\n")).toBe("on");
    await machine.deleteSnapshot("from a floppy");
    expect(machine.snapshots()).toEqual([]);
  });

  test("cannot be, where it writes to a disk that has no snapshots", async () => {
    const { device } = await guestDisk();
    const hdb = openRawDevice(createMemoryFile({ name: "hdb.raw", content: new Uint8Array(MIB) }));
    const guest = await boot({ hda: device, hdb });
    await expect(guest.machine.save("x")).rejects.toMatchObject({
      code: "UNSUPPORTED_FEATURE",
      data: { file: "hdb.raw" },
    });
    expect(guest.machine.snapshots()).toEqual([]);
    expect(guest.machine.state).toBe("running");
    const none = await boot({
      hda: openRawDevice(createMemoryFile({ name: "r", content: tinyGuestImage(MIB) })),
    });
    await expect(none.machine.save("x")).rejects.toMatchObject({ code: "UNSUPPORTED_FEATURE" });
  });

  test.each(["", "(unfinished save)", "a\0b", "x".repeat(256)])("is not called %j", async (name) => {
    const { device } = await guestDisk();
    const guest = await boot({ hda: device });
    await expect(guest.machine.save(name)).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    expect(device.snapshots).toEqual([]);
  });
});
