import { afterEach, describe, expect, test } from "vitest";
import { type BlockDevice, ByreError, createMemoryFile, openRawDevice } from "../disk/index.ts";
import { FloppyImage } from "./floppy.ts";
import type { Machine } from "./machine.ts";
import { startHeadlessMachine } from "./node.ts";
import { type GuestLine, guestLine, guestSlices, hex2, startTinyGuest } from "./testing/guest-line.ts";
import { filled, guestDisk, partsOf, READY, SECTOR } from "./testing/saved-machine.ts";
import { createScriptedDevice } from "./testing/scripted-device.ts";
import { tinyGuestImage } from "./testing/tiny-guest.ts";

const opened: { close(): Promise<void> }[] = [];
afterEach(async () => {
  for (const each of opened.splice(0).reverse()) await each.close();
});

const CD_SECTOR = 2048;
const FLOPPY_BYTES = 1440 * 1024;

function raw(name: string, content: Uint8Array<ArrayBuffer>): BlockDevice {
  return openRawDevice(createMemoryFile({ name, content }));
}

/** A disc of which every sector is full of its number, plus `first`. */
function disc(name: string, sectors: number, first = 0): BlockDevice {
  const content = new Uint8Array(sectors * CD_SECTOR);
  for (let i = 0; i < sectors; i++) content.fill(first + i, i * CD_SECTOR, (i + 1) * CD_SECTOR);
  return raw(name, content);
}

function floppyDrive(machine: Machine) {
  const [drive] = partsOf(machine).emulator.v86.cpu.devices.fdc.drives;
  if (!drive) throw new Error("There is no floppy drive.");
  return drive;
}

/** What the guest's floppy driver would do. */
function writeFloppy(machine: Machine, offsetBytes: number, byte: number): void {
  const { buffer } = floppyDrive(machine);
  if (!(buffer instanceof FloppyImage)) throw new Error("The floppy drive is empty.");
  buffer.set(offsetBytes, Uint8Array.of(byte), () => {});
}

async function boot() {
  const { device } = await guestDisk();
  opened.push(device);
  const guest = await startTinyGuest({ hda: device });
  opened.push(guest.machine);
  return { device, guest, machine: guest.machine };
}

/** The guest's CD driver: packets by PIO through the ports of the second channel, byte by byte. */
function cdDriver(guest: GuestLine) {
  const read = async (port: number) =>
    Number.parseInt((await guest.ask(`i0${port.toString(16).toUpperCase()}`)).slice(1), 16);
  const write = (port: number, value: number) =>
    guest.ask(`o0${port.toString(16).toUpperCase()}${hex2(value)}`);
  const ready = async () => {
    let status = await read(0x177);
    while (status & 0x80) status = await read(0x177);
    return status;
  };
  const packet = async (...bytes: number[]) => {
    await write(0x176, 0xa0);
    await write(0x171, 0);
    await write(0x174, CD_SECTOR & 0xff);
    await write(0x175, CD_SECTOR >> 8);
    await write(0x177, 0xa0);
    await ready();
    for (let i = 0; i < 12; i++) await write(0x170, bytes[i] ?? 0);
  };
  const data = async (length: number) => {
    const bytes: number[] = [];
    for (let i = 0; i < length; i++) bytes.push(await read(0x170));
    return bytes;
  };
  /** Sense key and code of what went wrong. */
  const sense = async () => {
    await packet(0x03, 0, 0, 0, 18);
    await ready();
    const bytes = await data(18);
    return [bytes[2], bytes[12]];
  };
  const driver = {
    ready,
    sense,
    /** "ok", or why not. */
    async test() {
      await packet(0x00);
      return (await ready()) & 1 ? sense() : "ok";
    },
    /** What it answers until it is ready. */
    async hear() {
      const heard: unknown[] = [];
      for (let answer = await driver.test(); answer !== "ok"; answer = await driver.test())
        heard.push(answer);
      return heard;
    },
    async sectors() {
      await packet(0x25);
      await ready();
      const [a = 0, b = 0, c = 0, d = 0] = (await data(8)).slice(0, 4);
      return ((a << 24) | (b << 16) | (c << 8) | d) + 1;
    },
    /** The first bytes of a sector. */
    async read(sector: number) {
      await packet(0x28, 0, 0, 0, sector >> 8, sector & 0xff, 0, 0, 1);
      if ((await ready()) & 1) return sense();
      const first = await data(4);
      // The rest, or the drive still has data to give.
      partsOf(guest.machine).emulator.v86.cpu.devices.ide?.secondary?.master.device_reset();
      return first;
    },
    eject: () => packet(0x1b, 0, 0, 0, 2),
  };
  return driver;
}

const NO_MEDIUM = [2, 0x3a];
/** What a guest hears of a disc that has come in the place of another: there is none, then there is another. */
const CHANGED = [NO_MEDIUM, [6, 0x28]];

describe("a CD", () => {
  test("is put into an empty drive, exchanged and taken out while the guest runs", async () => {
    const { guest, machine } = await boot();
    const cd = cdDriver(guest);
    const gone: string[] = [];
    let changes = 0;
    machine.media.onChange(() => changes++);
    expect(machine.media.cdrom).toBeUndefined();
    expect(await cd.test()).toEqual(NO_MEDIUM);

    await machine.media.insertCdrom(disc("a.iso", 20), { onEjected: () => gone.push("a") });
    expect(machine.media.cdrom).toEqual({ name: "a.iso", sizeBytes: 20 * CD_SECTOR, writable: false });
    expect(await cd.hear()).toEqual(CHANGED);
    expect(await cd.sectors()).toBe(20);
    expect(await cd.read(7)).toEqual([7, 7, 7, 7]);
    const { bytesRead } = machine.stats();

    await machine.media.insertCdrom(disc("b.iso", 30, 100), { onEjected: () => gone.push("b") });
    expect(gone).toEqual(["a"]);
    expect(await cd.hear()).toEqual(CHANGED);
    expect(await cd.sectors()).toBe(30);
    expect(await cd.read(7)).toEqual([107, 107, 107, 107]);
    expect(machine.stats().bytesRead).toBe(bytesRead + CD_SECTOR);

    await machine.media.ejectCdrom();
    expect([machine.media.cdrom, gone]).toEqual([undefined, ["a", "b"]]);
    expect(await cd.test()).toEqual(NO_MEDIUM);
    await machine.media.ejectCdrom();
    expect(changes).toBe(4);
  });

  test("that the guest ejects is given back", async () => {
    const { guest, machine } = await boot();
    const cd = cdDriver(guest);
    const ejected = new Promise<void>((onEjected) => {
      void machine.media.insertCdrom(disc("a.iso", 4), { onEjected });
    });
    await cd.hear();
    await cd.eject();
    await ejected;
    expect(machine.media.cdrom).toBeUndefined();
    expect(await cd.test()).toEqual(NO_MEDIUM);
  });

  test("is given back when the machine is closed, and an empty one is refused", async () => {
    const { machine } = await boot();
    let gone = 0;
    await machine.media.insertCdrom(disc("a.iso", 4), { onEjected: () => gone++ });
    await expect(machine.media.insertCdrom(raw("empty.iso", new Uint8Array()))).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
    });
    expect(machine.media.cdrom?.name).toBe("a.iso");
    await machine.close();
    expect(gone).toBe(1);
  });

  test("read by PIO and slow lets the guest stand still until the bytes are there", async () => {
    const { guest, machine } = await boot();
    const cd = cdDriver(guest);
    const slow = createScriptedDevice(disc("slow.iso", 8), { immediate: false });
    await machine.media.insertCdrom(slow);
    await cd.hear();
    slow.hold("read");
    const reading = cd.read(3);
    // The first was of its first sector.
    await slow.requested("read", 2);
    const asked = machine.serial.text().length;
    // It would ask for the drive's status every slice or two.
    await guestSlices(300);
    expect(machine.serial.text().length - asked).toBeLessThan(24);
    slow.release("read");
    expect(await reading).toEqual([3, 3, 3, 3]);
  });

  test("that cannot be read stops the machine, and once it is ejected the machine goes on", async () => {
    const { guest, machine } = await boot();
    const cd = cdDriver(guest);
    const bad = createScriptedDevice(disc("bad.iso", 8), { immediate: false });
    await machine.media.insertCdrom(bad);
    await cd.hear();
    bad.fail("read", new ByreError("NETWORK", "The disc cannot be reached."));
    await expect(cd.read(3)).rejects.toThrow(/cannot be reached/);
    expect(machine.state).toBe("error");
    await machine.media.ejectCdrom();
    await machine.retry();
    // Of the command that was under way.
    await guest.answer();
    expect((await cd.ready()) & 1).toBe(1);
    expect(await cd.sense()).toEqual(NO_MEDIUM);
    expect(machine.state).toBe("running");
  });
});

for (const [command, how] of [
  [undefined, "resets of the host's"],
  ["B", "reboots by the keyboard controller"],
  ["C", "reboots by port CF9h"],
] as const)
  test(`ten ${how} all come back, each with another disc in, the network on and a state loaded`, async () => {
    const { guest, machine } = await boot();
    const cd = cdDriver(guest);
    await machine.network.set({ kind: "fetch" });
    for (let i = 0; i < 10; i++) {
      await machine.media.insertCdrom(disc(`${i}.iso`, 4, i));
      // The card started, every interrupt let through.
      await guest.ask("o030022");
      await guest.ask("o030FFF");
      await machine.save("all on");
      await machine.load("all on");
      if (command) guest.tell(command);
      else await machine.reset();
      await guest.booted();
      // The firmware may have heard already that it is another.
      await cd.hear();
      expect(await cd.read(1)).toEqual(Array(4).fill(i + 1));
      expect(await guest.ask(`W${SECTOR}${hex2(i)}`)).toBe(READY);
      expect(await guest.ask(`r${SECTOR}`)).toBe(filled(i));
      expect(machine.network.state).toBe("on");
    }
  });

describe("a loaded state", () => {
  test("leaves the CD that is in the drive, and the guest hears of another", async () => {
    const { guest, machine } = await boot();
    const cd = cdDriver(guest);
    await machine.save("empty");
    await machine.media.insertCdrom(disc("a.iso", 8, 10));
    await cd.hear();
    await machine.save("a");
    await machine.load("a");
    expect(await cd.test()).toBe("ok");
    await machine.media.insertCdrom(disc("b.iso", 8, 20));
    await machine.load("a");
    expect(machine.media.cdrom?.name).toBe("b.iso");
    expect(await cd.hear()).toEqual(CHANGED);
    expect(await cd.read(0)).toEqual([20, 20, 20, 20]);
    await machine.load("empty");
    expect(await cd.hear()).toEqual(CHANGED);
    expect(await cd.sectors()).toBe(8);
    await machine.media.ejectCdrom();
    await machine.load("a");
    expect(await cd.test()).toEqual(NO_MEDIUM);
  });

  test("needs nothing of a CD that cannot be read", async () => {
    const { guest, machine } = await boot();
    const device = createScriptedDevice(disc("a.iso", 8), { immediate: false });
    await machine.media.insertCdrom(device);
    await machine.save("a");
    device.fail("read", new ByreError("NETWORK", "The disc cannot be reached."));
    await machine.load("a");
    expect([machine.state, machine.media.cdrom?.name]).toEqual(["running", "a.iso"]);
    device.fail("read", undefined);
    const cd = cdDriver(guest);
    await cd.hear();
    expect(await cd.read(3)).toEqual([3, 3, 3, 3]);
  });

  test("of a machine with a CD is started without it, and takes one", async () => {
    const { device, guest, machine } = await boot();
    await machine.media.insertCdrom(disc("a.iso", 8));
    await cdDriver(guest).hear();
    await machine.save("a");
    await machine.close();
    const later = await startHeadlessMachine({
      disks: { hda: device },
      startFrom: { device, snapshot: "a" },
    });
    opened.push(later);
    const line = guestLine(later, later.serial.text().length);
    const cd = cdDriver(line);
    expect(await cd.test()).toEqual(NO_MEDIUM);
    await later.media.insertCdrom(disc("c.iso", 3, 5));
    expect(await cd.hear()).toEqual(CHANGED);
    expect(await cd.read(2)).toEqual([7, 7, 7, 7]);
  });

  test("brings back what the floppy in the drive held, and never writes to another", async () => {
    const { device, machine } = await boot();
    const [a, b] = [
      raw("a.img", new Uint8Array(FLOPPY_BYTES).fill(1)),
      raw("b.img", new Uint8Array(FLOPPY_BYTES).fill(2)),
    ];
    const drive = () => floppyDrive(machine);
    const poke = (byte: number) => writeFloppy(machine, 0, byte);
    const first = async (floppy: BlockDevice) => {
      const byte = new Uint8Array(1);
      await floppy.read(0, byte);
      return byte[0];
    };
    await machine.media.insertFloppy(a);
    expect(machine.media.floppy).toEqual({ name: "a.img", sizeBytes: FLOPPY_BYTES, writable: true });
    poke(10);
    await machine.save("a");
    poke(11);
    expect(await first(a)).toBe(11);
    await machine.load("a");
    expect(await first(a)).toBe(10);

    await machine.media.insertFloppy(b);
    await machine.load("a");
    await machine.flush();
    expect([machine.media.floppy?.name, await first(b), drive().get_buffer()?.[0]]).toEqual(["b.img", 2, 2]);

    await machine.media.ejectFloppy();
    await machine.load("a");
    expect([machine.media.floppy, drive().buffer]).toEqual([undefined, null]);
    await machine.save("empty");
    await machine.media.insertFloppy(b);
    await machine.load("empty");
    expect([machine.media.floppy?.name, drive().get_buffer()?.[0]]).toEqual(["b.img", 2]);
    await device.flush();
  });
});

describe("a floppy", () => {
  test("is flushed before it is taken out, and stays in when that fails", async () => {
    const { machine } = await boot();
    const device = createScriptedDevice(raw("a.img", new Uint8Array(FLOPPY_BYTES)), { immediate: true });
    let gone = 0;
    await machine.media.insertFloppy(device, { onEjected: () => gone++ });
    const drive = floppyDrive(machine);
    writeFloppy(machine, 5, 9);
    device.fail("flush", new ByreError("QUOTA_EXCEEDED", "There is no room."));
    await expect(machine.media.ejectFloppy()).rejects.toMatchObject({ code: "QUOTA_EXCEEDED" });
    device.fail("flush", undefined);
    expect([machine.media.floppy?.name, drive.get_buffer()?.[5], gone]).toEqual(["a.img", 9, 0]);
    await machine.media.ejectFloppy();
    const byte = new Uint8Array(1);
    await device.read(5, byte);
    expect([machine.media.floppy, drive.buffer, byte[0], gone]).toEqual([undefined, null, 9, 1]);
  });

  test.each<[string, (machine: Machine) => Promise<void>]>([
    ["a load", (machine) => machine.load("with it")],
    ["a reset to another configuration", (machine) => machine.reset({ configuration: { memoryMiB: 24 } })],
  ])("is out of the drive from its ejection on, though %s comes before it is flushed", async (_, change) => {
    const { machine } = await boot();
    const device = createScriptedDevice(raw("a.img", new Uint8Array(FLOPPY_BYTES)), { immediate: true });
    await machine.media.insertFloppy(device);
    await machine.save("with it");
    device.hold("flush");
    const ejecting = machine.media.ejectFloppy();
    await change(machine);
    expect(floppyDrive(machine).buffer).toBeNull();
    device.release("flush");
    await ejecting;
    expect([machine.media.floppy, floppyDrive(machine).buffer]).toEqual([undefined, null]);
  });

  test("is back in the drive of another emulator when its ejection fails after that has come", async () => {
    const { machine } = await boot();
    const device = createScriptedDevice(raw("a.img", new Uint8Array(FLOPPY_BYTES)), { immediate: true });
    await machine.media.insertFloppy(device);
    writeFloppy(machine, 5, 9);
    device.hold("flush");
    device.fail("flush", new ByreError("QUOTA_EXCEEDED", "There is no room."));
    const ejecting = expect(machine.media.ejectFloppy()).rejects.toMatchObject({ code: "QUOTA_EXCEEDED" });
    await machine.reset({ configuration: { memoryMiB: 24 } });
    device.release("flush");
    await ejecting;
    expect([machine.media.floppy?.name, floppyDrive(machine).get_buffer()?.[5]]).toEqual(["a.img", 9]);
  });

  test("is booted from after it was put into an empty drive", async () => {
    const { guest, machine } = await boot();
    await machine.media.insertFloppy(raw("boot.img", tinyGuestImage(FLOPPY_BYTES)));
    await machine.reset({ configuration: { bootOrder: "floppy" } });
    await guest.booted();
    expect(machine.media.floppy?.name).toBe("boot.img");
    await expect(machine.media.insertFloppy(raw("disk.img", new Uint8Array(4e6)))).rejects.toMatchObject({
      code: "TOO_LARGE",
    });
    expect(machine.media.floppy?.name).toBe("boot.img");
  });
});
