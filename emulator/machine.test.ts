import { afterEach, describe, expect, test } from "vitest";
import { ByreError, createMemoryFile, openRawDevice } from "../disk/index.ts";
import {
  type GuestLine,
  guestSlices,
  hex2,
  hex8,
  memoryDisk,
  startTinyGuest,
  stateReached,
} from "./testing/guest-line.ts";
import { createScriptedDevice } from "./testing/scripted-device.ts";
import {
  TINY_GUEST_BANNER,
  TINY_GUEST_FREE_SECTOR,
  tinyGuestChecksum,
  tinyGuestImage,
} from "./testing/tiny-guest.ts";

const MIB = 1024 * 1024;
const SECTOR = hex8(TINY_GUEST_FREE_SECTOR);
const SECTOR_OFFSET = TINY_GUEST_FREE_SECTOR * 512;
const READY = "=00000050";

let guest: GuestLine | undefined;
afterEach(async () => {
  await guest?.machine.close();
  guest = undefined;
});

async function boot(options: { immediate: boolean } = { immediate: true }) {
  const device = createScriptedDevice(memoryDisk(MIB), options);
  guest = await startTinyGuest({ hda: device });
  return { device, guest, machine: guest.machine };
}

const filled = (byte: number) => `=${tinyGuestChecksum(new Uint8Array(512).fill(byte))}`;
const quotaError = new ByreError("QUOTA_EXCEEDED", "There is no room left.");

describe("disk requests", () => {
  test("the guest boots and reads its own sectors, by PIO and by DMA", async () => {
    const { guest, machine } = await boot();
    expect(machine.state).toBe("running");
    const first = `=${tinyGuestChecksum(tinyGuestImage(MIB).subarray(0, 512))}`;
    expect(await guest.ask("R00000000")).toBe(first);
    expect(await guest.ask("r00000000")).toBe(first);
  });

  for (const immediate of [true, false]) {
    test(`what is written is read back (${immediate ? "in the call" : "later"})`, async () => {
      const { guest, device } = await boot({ immediate });
      expect(await guest.ask(`W${SECTOR}A5`)).toBe(READY);
      expect(await guest.ask(`r${SECTOR}`)).toBe(filled(0xa5));
      expect(await guest.ask(`w${SECTOR}5B`)).toBe(READY);
      expect(await guest.ask(`R${SECTOR}`)).toBe(filled(0x5b));
      const stored = new Uint8Array(512);
      await device.read(SECTOR_OFFSET, stored);
      expect(stored).toEqual(new Uint8Array(512).fill(0x5b));
    });
  }

  test("IDENTIFY announces a write cache, and the guest can switch it off", async () => {
    const { guest, device } = await boot();
    expect(await guest.ask("I")).toBe("=40204020");
    expect(await guest.ask("S82")).toBe(READY);
    expect(await guest.ask("I")).toBe("=40204000");
    const flushes = device.log.filter((entry) => entry === "flush").length;
    expect(await guest.ask(`w${SECTOR}01`)).toBe(READY);
    expect(device.log.filter((entry) => entry === "flush")).toHaveLength(flushes + 1);
    expect(await guest.ask("S02")).toBe(READY);
    expect(await guest.ask("I")).toBe("=40204020");
  });

  for (const command of ["F", "X"]) {
    test(`${command} completes only when the device has flushed`, async () => {
      const { guest, device } = await boot();
      device.hold("flush");
      guest.tell(command);
      await device.requested("flush", 1);
      await guestSlices(20);
      expect(guest.machine.serial.text().endsWith(TINY_GUEST_BANNER)).toBe(true);
      device.release("flush");
      expect(await guest.answer()).toBe(READY);
      expect(guest.machine.stats().flushes).toBe(1);
    });
  }

  test("the drive says busy while a flush is under way", async () => {
    const { guest, device } = await boot();
    device.hold("flush");
    expect(await guest.ask("f")).toBe("=00000000");
    expect(await guest.ask("Q")).toBe("=00000080");
    device.release("flush");
    expect(await guest.ask(`r${SECTOR}`)).toBe(filled(0));
  });

  test("a PIO write keeps the drive busy until the device has taken it", async () => {
    const { guest, device } = await boot({ immediate: false });
    device.hold("write");
    guest.tell(`W${SECTOR}77`);
    await device.requested("write", 1);
    await guestSlices(20);
    expect(guest.machine.serial.text().endsWith(TINY_GUEST_BANNER)).toBe(true);
    device.release("write");
    expect(await guest.answer()).toBe(READY);
  });

  test("a second disk is the slave of the first", async () => {
    const hdb = memoryDisk(MIB);
    await hdb.write(SECTOR_OFFSET, new Uint8Array(512).fill(0x3c));
    guest = await startTinyGuest({ hda: memoryDisk(MIB), hdb });
    expect(await guest.ask(`r${SECTOR}`)).toBe(filled(0));
    await guest.ask("1");
    expect(await guest.ask("I")).toBe("=40204020");
    expect(await guest.ask(`r${SECTOR}`)).toBe(filled(0x3c));
    expect(await guest.ask(`w${SECTOR}3D`)).toBe(READY);
    const stored = new Uint8Array(1);
    await hdb.read(SECTOR_OFFSET, stored);
    expect(stored[0]).toBe(0x3d);
  });

  test("stats count what the guest asked for", async () => {
    const { guest, machine, device } = await boot();
    const before = machine.stats();
    await guest.ask(`w${SECTOR}01`);
    await guest.ask(`r${SECTOR}`);
    device.hold("flush");
    guest.tell("F");
    await device.requested("flush", 1);
    device.pretendDirty(512);
    const after = machine.stats();
    device.release("flush");
    expect(after).toEqual({
      bytesRead: before.bytesRead + 512,
      bytesWritten: before.bytesWritten + 512,
      requests: before.requests + 3,
      cacheHits: before.cacheHits + 2,
      flushes: 1,
      dirtyBytes: 512,
      networkBytesIn: 0,
      networkBytesOut: 0,
    });
  });
});

describe("states", () => {
  test("pause waits for the request in flight and flushes; resume goes on", async () => {
    const { guest, machine, device } = await boot({ immediate: false });
    device.hold("write");
    guest.tell(`w${SECTOR}66`);
    await device.requested("write", 1);
    const paused = machine.pause();
    device.release("write");
    await paused;
    expect(machine.state).toBe("paused");
    expect(device.log.slice(-2)).toEqual([`write ${SECTOR_OFFSET}+512`, "flush"]);
    machine.serial.send(`r${SECTOR}`);
    await machine.resume();
    expect(await guest.answer()).toBe(READY);
    expect(await guest.answer()).toBe(filled(0x66));
  });

  test("a paused machine does nothing", async () => {
    const { guest, machine, device } = await boot();
    await machine.pause();
    const requests = machine.stats().requests;
    guest.tell(`r${SECTOR}`);
    await guestSlices(20);
    expect(machine.stats().requests).toBe(requests);
    expect(device.log.filter((entry) => entry === "flush")).toHaveLength(1);
  });

  test("pause, resume and reset in a row end as the last says", async () => {
    const { guest, machine } = await boot();
    await Promise.all([machine.pause(), machine.resume(), machine.pause(), machine.reset()]);
    expect(machine.state).toBe("running");
    await guest.booted();
  });

  for (const [command, how] of [
    ["P", "ACPI power-off"],
    ["H", "halting with interrupts off"],
  ] as const) {
    test(`the guest stops the machine by ${how}; its disk is flushed; reset switches it on`, async () => {
      const { guest, machine, device } = await boot();
      await guest.ask(`w${SECTOR}12`);
      guest.tell(command);
      await stateReached(machine, "stopped");
      expect(device.log.at(-1)).toBe("flush");
      await machine.reset();
      await guest.booted();
      expect(await guest.ask(`r${SECTOR}`)).toBe(filled(0x12));
    });
  }

  test("a guest's power-off that cannot flush is an error", async () => {
    const { guest, machine, device } = await boot();
    device.fail("flush", quotaError);
    guest.tell("P");
    await stateReached(machine, "error");
    device.fail("flush", undefined);
    await machine.retry();
    expect(machine.state).toBe("stopped");
  });

  test("close leaves the devices open and may be called twice", async () => {
    const { machine, device } = await boot();
    await machine.close();
    await machine.close();
    expect(machine.state).toBe("stopped");
    await device.read(0, new Uint8Array(512));
    await expect(machine.resume()).rejects.toMatchObject({ code: "CLOSED" });
  });
});

test("ACPI event status reads clear after it was cleared, so that no event seems pending", async () => {
  const { guest } = await boot();
  for (const port of ["AFE0", "AFE1"]) {
    await guest.ask(`o${port}FF`);
    expect(await guest.ask(`i${port}`)).toBe("=00000000");
  }
  await guest.ask("oAFE203");
  expect(await guest.ask("iAFE2")).toBe("=00000003");
});

test("the word Shutdown at Bochs's port, which SeaBIOS's APM spells, stops the machine", async () => {
  const { guest, machine } = await boot();
  for (const byte of new TextEncoder().encode("Shutdow")) await guest.ask(`o8900${hex2(byte)}`);
  expect(machine.state).toBe("running");
  guest.tell(`o8900${hex2("n".charCodeAt(0))}`);
  await stateReached(machine, "stopped");
});

describe("options", () => {
  test("a configuration out of bounds is refused by name", async () => {
    const { startHeadlessMachine } = await import("./node.ts");
    const disks = { hda: memoryDisk(MIB) };
    await expect(startHeadlessMachine({ disks, configuration: { memoryMiB: 4096 } })).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
      data: { memoryMiB: 4096 },
    });
    await expect(startHeadlessMachine({ disks: { hdb: memoryDisk(MIB) } })).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
    });
  });

  test("wasm that is not v86's is refused", async () => {
    const { startMachine } = await import("./index.ts");
    const bytes = new ArrayBuffer(16);
    const options = {
      disks: { hda: memoryDisk(MIB) },
      firmware: { bios: bytes, vgaBios: bytes },
      wasm: bytes,
    };
    await expect(startMachine(options)).rejects.toMatchObject({ code: "FIRMWARE" });
  });

  test("a floppy is read from memory and written back by flush", async () => {
    const file = createMemoryFile({ name: "floppy.img", content: tinyGuestImage(1440 * 1024) });
    const { startHeadlessMachine } = await import("./node.ts");
    const machine = await startHeadlessMachine({
      disks: { floppy: openRawDevice(file) },
      configuration: { bootOrder: "floppy", memoryMiB: 16, vgaMemoryMiB: 1 },
    });
    await machine.waitForText(TINY_GUEST_BANNER, { timeoutMs: 10_000 });
    expect(machine.stats().dirtyBytes).toBe(0);
    await machine.close();
  });
});
