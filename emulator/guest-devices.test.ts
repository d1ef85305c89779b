import { afterEach, expect, test } from "vitest";
import type { Qcow2Device } from "../disk/index.ts";
import { startHeadlessMachine } from "./node.ts";
import { type GuestLine, guestLine, hex2, startTinyGuest } from "./testing/guest-line.ts";
import { guestDisk, partsOf } from "./testing/saved-machine.ts";

const opened: { close(): Promise<void> }[] = [];
afterEach(async () => {
  for (const each of opened.splice(0).reverse()) await each.close();
});

async function boot(): Promise<{ guest: GuestLine; device: Qcow2Device }> {
  const { device } = await guestDisk();
  opened.push(device);
  const guest = await startTinyGuest({ hda: device });
  opened.push(guest.machine);
  return { guest, device };
}

/** Another machine, started from a state of the disk. */
async function startFrom(device: Qcow2Device, snapshot: string): Promise<GuestLine> {
  const machine = await startHeadlessMachine({
    disks: { hda: device },
    startFrom: { device, snapshot },
  });
  opened.push(machine);
  return guestLine(machine, machine.serial.text().length);
}

/** Writes to the second serial port, byte by byte. */
async function put(guest: GuestLine, text: string): Promise<void> {
  for (const byte of new TextEncoder().encode(text)) await guest.ask(`o02F8${hex2(byte)}`);
}

const text = (guest: GuestLine) => new TextDecoder().decode(guest.machine.output.bytes());

test("what the guest writes to its second serial port is kept, across a reset and a load", async () => {
  const { guest } = await boot();
  await put(guest, "a\r\n\0");
  expect(text(guest)).toBe("a\r\n\0");
  await guest.machine.save("here");
  await guest.machine.reset();
  await guest.booted();
  await put(guest, "b");
  await guest.machine.load("here");
  await put(guest, "c");
  expect(text(guest)).toBe("a\r\n\0bc");
});

test("a state of a program without the second port is loaded, and the port works", async () => {
  const { guest, device } = await boot();
  const { devices } = partsOf(guest.machine).emulator.v86.cpu;
  const port = devices.uart1;
  Reflect.deleteProperty(devices, "uart1");
  await guest.machine.save("old");
  devices.uart1 = port;
  // Line control, which a reset port has not.
  await guest.ask("o02FB03");
  await guest.machine.load("old");
  expect(await guest.ask("i02FB")).toBe("=00000000");
  await put(guest, "still");
  expect(text(guest)).toBe("still");
  await guest.machine.close();
  const other = await startFrom(device, "old");
  await put(other, "here");
  expect(text(other)).toBe("here");
});

/** Puts bytes into the first serial port of a machine that stands still, where the guest does not read them. */
function receive({ machine }: GuestLine, text: string): void {
  const { uart0 } = partsOf(machine).emulator.v86.cpu.devices;
  for (const byte of new TextEncoder().encode(text)) uart0.data_received(byte);
}

test("what the guest has not read when another state is loaded is not in the way of what follows", async () => {
  const { guest } = await boot();
  await guest.machine.save("here");
  await guest.machine.pause();
  receive(guest, "E");
  await guest.machine.load("here");
  expect(await guest.ask("Ehello\n")).toBe("hello");
});

test("what the guest has not read when it is saved is read when that is loaded", async () => {
  const { guest, device } = await boot();
  await guest.machine.pause();
  receive(guest, "Ehello\n");
  await guest.machine.save("here");
  await guest.machine.close();
  const other = await startFrom(device, "here");
  expect(await other.answer()).toBe("hello");
});

test("keys that the guest has not read when it is saved are read when that is loaded", async () => {
  const { guest, device } = await boot();
  // The BIOS would take them with every interrupt.
  await guest.ask("o0021AA");
  await guest.ask("o0060F4");
  await guest.machine.keyboard.sendScancodes([0x1d, 0x9d]);
  await guest.machine.save("here");
  await guest.machine.close();
  const other = await startFrom(device, "here");
  // "Understood", Control down, Control up, nothing more.
  for (const code of ["FA", "1D", "9D"]) {
    expect(await keyIsReady(other)).toBe(true);
    expect(await other.ask("i0060")).toBe(`=000000${code}`);
  }
  expect(await keyIsReady(other)).toBe(false);
});

async function keyIsReady(guest: GuestLine): Promise<boolean> {
  return Number.parseInt((await guest.ask("i0064")).slice(-1), 16) % 2 === 1;
}

test("the network card keeps the address that the guest knows, from state to state", async () => {
  const { guest, device } = await boot();
  const card = (line: GuestLine) => partsOf(line.machine).emulator.v86.cpu.devices.net;
  const known = [...card(guest).mac];
  await guest.machine.save("first");
  await guest.machine.close();
  const second = await startFrom(device, "first");
  expect([...(card(second).mac_address_in_state ?? [])]).toEqual(known);
  // Its own on the wire, so that two machines from one state do not collide.
  expect([...card(second).mac]).not.toEqual(known);
  await second.machine.save("second");
  await second.machine.close();
  const third = await startFrom(device, "second");
  expect([...(card(third).mac_address_in_state ?? [])]).toEqual(known);
  // As the guest's driver finds it, each byte doubled.
  expect([...card(third).memory.subarray(0, 12)].filter((_, i) => i % 2 === 0)).toEqual(known);
});

test("a reset stops the network card and the mouse that a guest has left on", async () => {
  const { guest } = await boot();
  const { net, vmware } = partsOf(guest.machine).emulator.v86.cpu.devices;
  // Started, every interrupt let through, one pending.
  await guest.ask("o030022");
  await guest.ask("o030FFF");
  net.isr = 1;
  net.update_irq();
  Object.assign(vmware, { enabled: true, absolute: true });
  await guest.machine.reset();
  await guest.booted();
  expect({ imr: net.imr, isr: net.isr, stopped: net.cr & 1 }).toEqual({ imr: 0, isr: 0, stopped: 1 });
  expect({ enabled: vmware.enabled, absolute: guest.machine.pointer.absolute }).toEqual({
    enabled: false,
    absolute: false,
  });
});

test("sound without a screen is silent and remembers what it was set to", async () => {
  const { guest } = await boot();
  const { sound } = guest.machine;
  let changes = 0;
  sound.onChange(() => changes++);
  sound.setMuted(true);
  sound.setVolume(7);
  expect({ muted: sound.muted, volume: sound.volume, changes }).toEqual({
    muted: true,
    volume: 1,
    changes: 2,
  });
  await sound.resume();
  await expect(guest.machine.pointer.lock()).rejects.toMatchObject({ code: "UNSUPPORTED_FEATURE" });
});
