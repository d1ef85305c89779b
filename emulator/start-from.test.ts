import { afterEach, expect, test } from "vitest";
import {
  createMemoryFile,
  createQcow2,
  type MemoryFile,
  openQcow2,
  openRawDevice,
  type Qcow2Device,
} from "../disk/index.ts";
import { type HeadlessMachine, type HeadlessOptions, startHeadlessMachine } from "./node.ts";
import { readStateHeader } from "./state-reading.ts";
import { guestLine, startTinyGuest } from "./testing/guest-line.ts";
import {
  emptyDisk,
  filled,
  fillWithNoise,
  guestDisk,
  memoryOf,
  openCopy,
  partsOf,
  SECTOR,
  SPARE_ADDRESS,
} from "./testing/saved-machine.ts";

const MIB = 1024 * 1024;

let machines: HeadlessMachine[] = [];
afterEach(async () => {
  for (const machine of machines) await machine.close();
  machines = [];
});

async function start(options: HeadlessOptions) {
  const machine = await startHeadlessMachine(options);
  machines.push(machine);
  return guestLine(machine, machine.serial.text().length);
}

/** An image with a state "ready": sector 0x71, memory of noise; the disk has gone on since to 0x72. */
async function savedImage(): Promise<{ file: MemoryFile; device: Qcow2Device }> {
  const { file, device } = await guestDisk();
  const { machine, ask } = await startTinyGuest({ hda: device });
  machines.push(machine);
  await ask(`W${SECTOR}71`);
  fillWithNoise(memoryOf(machine).subarray(SPARE_ADDRESS, SPARE_ADDRESS + 2 * MIB));
  await ask("Ethe last line\n");
  await machine.save("ready", { description: "at the prompt" });
  await ask(`W${SECTOR}72`);
  await machine.powerOff();
  await machine.close();
  return { file, device };
}

function expectNoise(machine: HeadlessMachine): void {
  const expected = new Uint8Array(2 * MIB);
  fillWithNoise(expected);
  const memory = memoryOf(machine).subarray(SPARE_ADDRESS, SPARE_ADDRESS + 2 * MIB);
  expect(Buffer.compare(memory, expected)).toBe(0);
}

test("a machine starts from a state of its own disk, in the state's configuration", async () => {
  const { device } = await savedImage();
  const progress: number[] = [];
  const { machine, ask } = await start({
    disks: { hda: device },
    configuration: { memoryMiB: 64, bootOrder: "cdrom" },
    startFrom: {
      device,
      snapshot: "ready",
      onProgress: ({ loadedBytes, totalBytes }) => progress.push(loadedBytes / totalBytes),
    },
  });
  expect(machine.configuration).toEqual({ memoryMiB: 16, vgaMemoryMiB: 1, acpi: true, bootOrder: "disk" });
  expect(progress.length).toBeGreaterThan(2);
  expect(progress).toEqual([...progress].sort((a, b) => a - b));
  expect(progress.at(-1)).toBe(1);
  expect(machine.serial.text()).toMatch(/the last line\n$/);
  expectNoise(machine);
  expect(await ask(`R${SECTOR}`)).toBe(filled(0x71));
  expect(await ask("Eon\n")).toBe("on");
});

test("an overlay starts from a state of the base behind it, as it is", async () => {
  const { file, device: base } = await savedImage();
  const overlay = createMemoryFile({ name: "overlay.qcow2" });
  await createQcow2(overlay, { sizeBytes: base.sizeBytes, backing: { name: "base", format: "qcow2" } });
  const hda = await openQcow2(overlay, {
    resolveBacking: async () => ({
      file: createMemoryFile({ name: "base", content: file.toBytes() }),
      snapshot: "ready",
    }),
  });
  const { machine, ask } = await start({ disks: { hda }, startFrom: { device: base, snapshot: "ready" } });
  expectNoise(machine);
  expect(await ask(`R${SECTOR}`)).toBe(filled(0x71));
  await ask(`W${SECTOR}73`);
  // A state of its own has no part in the base's.
  await machine.save("mine");
  await ask(`W${SECTOR}74`);
  await machine.load("mine");
  expect(await ask(`R${SECTOR}`)).toBe(filled(0x73));
  expect(base.snapshots.map(({ name }) => name)).toEqual(["ready"]);
});

test("a snapshot without a state boots its disk", async () => {
  const { device } = await savedImage();
  await device.createSnapshot({ name: "disk only" });
  await device.write(8 * 512, new Uint8Array(512).fill(0x75));
  const { ask, booted } = await start({
    disks: { hda: device },
    startFrom: { device, snapshot: "disk only" },
  });
  await booted();
  expect(await ask(`R${SECTOR}`)).toBe(filled(0x72));
});

test("a state that is not there, is damaged, or whose reading ends leaves the disk as it is", async () => {
  const { file, device } = await savedImage();
  const disk = async (image: Qcow2Device) => {
    const sector = new Uint8Array(512);
    await image.read(8 * 512, sector);
    return sector[0];
  };
  await expect(
    start({ disks: { hda: device }, startFrom: { device, snapshot: "no" } }),
  ).rejects.toMatchObject({
    code: "SNAPSHOT_NOT_FOUND",
  });
  const cancel = new AbortController();
  await expect(
    start({
      disks: { hda: device },
      startFrom: { device, snapshot: "ready", signal: cancel.signal, onProgress: () => cancel.abort() },
    }),
  ).rejects.toMatchObject({ code: "CANCELLED" });
  expect(await disk(device)).toBe(0x72);

  const damaged = await openCopy(file);
  const index = (2 * MIB + SPARE_ADDRESS) / damaged.header.clusterSizeBytes;
  const edit = await damaged.editState("ready");
  const { vmStateBytes } = damaged.snapshots[0] ?? { vmStateBytes: 0 };
  await edit.writeZeros(index, 1);
  await edit.finish({ name: "ready", vmStateBytes });
  await expect(
    start({ disks: { hda: damaged }, startFrom: { device: damaged, snapshot: "ready" } }),
  ).rejects.toMatchObject({ code: "STATE_INVALID" });
  expect(await disk(damaged)).toBe(0x72);
  const { booted } = await start({ disks: { hda: damaged } });
  await booted();
});

test("several reads of a slow image are under way at once", async () => {
  const { device } = await savedImage();
  let underWay = 0;
  let most = 0;
  const slow: Qcow2Device = Object.create(device, {
    openState: {
      value: async (snapshot: string) => {
        const reader = await device.openState(snapshot);
        const readPacked = reader.readPacked.bind(reader);
        reader.readPacked = async (index) => {
          underWay++;
          most = Math.max(most, underWay);
          await new Promise((resolve) => setImmediate(resolve));
          underWay--;
          return readPacked(index);
        };
        return reader;
      },
    },
  });
  const hda = await emptyDisk("hda.qcow2", 4 * MIB);
  await start({ disks: { hda }, startFrom: { device: slow, snapshot: "ready" } });
  expect(most).toBeGreaterThan(16);
});

test("a drive that the state knew and that is gone is gone; one that is new is found after a reset", async () => {
  const { device } = await guestDisk();
  const cdrom = () => openRawDevice(createMemoryFile({ name: "cd.iso", content: new Uint8Array(64 * 2048) }));
  const first = await startTinyGuest({ hda: device, cdrom: cdrom() });
  machines.push(first.machine);
  await first.machine.save("with a CD");
  await first.machine.powerOff();
  expect((await readStateHeader(device, "with a CD"))?.drives).toEqual(["hda", "cdrom"]);

  const without = await start({ disks: { hda: device }, startFrom: { device, snapshot: "with a CD" } });
  expect(await without.ask("Eon\n")).toBe("on");
  await without.machine.save("without");
  await without.machine.reset();
  await without.booted();
  await without.machine.powerOff();

  const again = await start({
    disks: { hda: device, cdrom: cdrom() },
    startFrom: { device, snapshot: "without" },
  });
  expect(await again.ask("Eon\n")).toBe("on");
  const drive = partsOf(again.machine).emulator.v86.cpu.devices.ide?.secondary?.master;
  expect(drive).toMatchObject({ is_atapi: true, sector_count: 64 });
  await again.machine.reset();
  await again.booted();
  expect(await again.ask(`R${SECTOR}`)).toBe(filled(0));
});

test("a floppy disk goes back to what it held", async () => {
  const { device } = await guestDisk();
  const content = new Uint8Array(1440 * 1024).fill(0x33);
  const floppy = openRawDevice(createMemoryFile({ name: "a.img", content }));
  const { machine } = await startTinyGuest({ hda: device, floppy });
  machines.push(machine as HeadlessMachine);
  const drive = () => partsOf(machine).emulator.v86.cpu.devices.fdc.drives[0]?.get_buffer();
  await machine.save("before");
  drive()?.fill(0x44, 0, 512);
  await machine.flush();
  await machine.load("before");
  expect(drive()?.[0]).toBe(0x33);
  await machine.flush();
  const stored = new Uint8Array(512);
  await floppy.read(0, stored);
  expect(stored[0]).toBe(0x33);
});
