import { afterEach, expect, test, vi } from "vitest";
import { type GuestLine, guestSlices, hex8, memoryDisk, startTinyGuest } from "./testing/guest-line.ts";
import { guestDisk, memoryOf, partsOf } from "./testing/saved-machine.ts";
import { createScriptedDevice } from "./testing/scripted-device.ts";
import { TINY_GUEST_FREE_SECTOR, tinyGuestChecksum } from "./testing/tiny-guest.ts";

const RESETS = 20;
const SECTOR = hex8(TINY_GUEST_FREE_SECTOR);

let guest: GuestLine | undefined;
afterEach(async () => {
  await guest?.machine.close();
  guest = undefined;
});

async function boot() {
  const device = createScriptedDevice(memoryDisk(1024 * 1024), { immediate: false });
  guest = await startTinyGuest({ hda: device });
  return { device, guest, machine: guest.machine };
}

/** The next emulator to be built waits. */
function holdBuilding() {
  const instantiate = WebAssembly.instantiate as (...args: unknown[]) => Promise<unknown>;
  let go = () => {};
  const held = new Promise<void>((resolve) => {
    go = resolve;
  });
  const begun = new Promise<void>((resolve) => {
    vi.spyOn(WebAssembly, "instantiate").mockImplementationOnce(async (...args: unknown[]) => {
      resolve();
      await held;
      return instantiate(...args) as never;
    });
  });
  return { begun, go };
}

const filled = (byte: number) => `=${tinyGuestChecksum(new Uint8Array(512).fill(byte))}`;

/** What is under way in the drive when the reset comes. */
const loads = {
  nothing: async () => {},
  "a read": async ({ guest, device }: Awaited<ReturnType<typeof boot>>) => {
    device.hold("read");
    expect(await guest.ask(`g${SECTOR}`)).toBe("=00000000");
  },
  "a flush": async ({ guest, device }: Awaited<ReturnType<typeof boot>>) => {
    device.hold("flush");
    expect(await guest.ask("f")).toBe("=00000000");
  },
};

for (const [name, load] of Object.entries(loads)) {
  test(`twenty resets of the host's with ${name} in flight all come back`, async () => {
    const context = await boot();
    for (let count = 0; count < RESETS; count++) {
      await load(context);
      const reset = context.machine.reset();
      context.device.release("read");
      context.device.release("flush");
      await reset;
      await context.guest.booted();
      expect(await context.guest.ask(`r${SECTOR}`)).toBe(filled(0));
    }
  });

  for (const [command, how] of [
    ["B", "the keyboard controller"],
    ["C", "port CF9h"],
    ["T", "a triple fault"],
  ] as const) {
    test(`twenty resets of the guest's by ${how} with ${name} in flight all come back`, async () => {
      const context = await boot();
      for (let count = 0; count < RESETS; count++) {
        await load(context);
        context.guest.tell(command);
        await guestSlices(5);
        context.device.release("read");
        context.device.release("flush");
        await context.guest.booted();
        expect(await context.guest.ask(`r${SECTOR}`)).toBe(filled(0));
      }
    });
  }
}

test("a reset does not wait for a disk that never answers, nor does what it drops reach the guest", async () => {
  const { guest, machine, device } = await boot();
  device.hold("flush");
  await guest.ask("f");
  const paused = expect(machine.pause()).rejects.toMatchObject({ code: "CANCELLED" });
  await machine.reset();
  await paused;
  await guest.booted();
  expect(await guest.ask("Q")).toBe("=00000050");
  expect(await guest.ask(`r${SECTOR}`)).toBe(filled(0));
  device.release("flush");
  await guestSlices(5);
  expect(await guest.ask("Q")).toBe("=00000050");
});

for (const [how, pause] of [
  ["a power-off", undefined],
  ["a power-off, after a pause,", "pause"],
] as const)
  test(`${how} does not wait for a read that never ends, but for what was being written`, async () => {
    const { guest, machine, device } = await boot();
    device.hold("read");
    expect(await guest.ask(`g${SECTOR}`)).toBe("=00000000");
    const paused = pause && expect(machine.pause()).rejects.toMatchObject({ code: "CANCELLED" });
    await machine.powerOff();
    await paused;
    expect(machine.state).toBe("stopped");

    await machine.reset();
    device.release("read");
    await guest.booted();
    device.hold("write");
    guest.tell(`w${SECTOR}05`);
    await device.requested("write", 1);
    const off = machine.powerOff();
    await guestSlices(5);
    expect(machine.state).toBe("running");
    device.release("write");
    await off;
    expect(device.log.slice(-2)).toEqual([expect.stringContaining("write"), "flush"]);
  });

test("a write under way at a reset is made before a later write of the same sector", async () => {
  const { guest, machine, device } = await boot();
  device.hold("write");
  guest.tell(`w${SECTOR}01`);
  await device.requested("write", 1);
  await machine.reset();
  device.release("write");
  await guest.booted();
  expect(await guest.ask(`w${SECTOR}02`)).toBe("=00000050");
  expect(await guest.ask(`r${SECTOR}`)).toBe(filled(2));
});

test("text sent before a reset and not yet taken is dropped", async () => {
  const { guest, machine } = await boot();
  await machine.pause();
  machine.serial.send("Eold line\n".repeat(50));
  await machine.reset();
  await guest.booted();
  expect(await guest.ask("Enew\n")).toBe("new");
});

test("a reset can bring another configuration, with the same disk, and keeps it through later resets", async () => {
  const { guest, machine } = await boot();
  expect(await guest.ask(`w${SECTOR}03`)).toBe("=00000050");
  for (const memoryMiB of [24, 32]) {
    await machine.reset({ configuration: { memoryMiB, acpi: false } });
    await guest.booted();
    expect(machine.configuration).toMatchObject({ memoryMiB, acpi: false, vgaMemoryMiB: 1 });
    expect(memoryOf(machine).byteLength).toBe(memoryMiB * 1024 * 1024);
    expect(await guest.ask(`r${SECTOR}`)).toBe(filled(3));
    await machine.reset();
    await guest.booted();
    expect(machine.configuration.memoryMiB).toBe(memoryMiB);
  }
});

test("a reset switches a machine on with another configuration", async () => {
  const { guest, machine } = await boot();
  await machine.powerOff();
  await machine.reset({ configuration: { memoryMiB: 24 } });
  await guest.booted();
  expect(machine.configuration.memoryMiB).toBe(24);
});

test("a power-off asked for after a reset to another configuration comes after it", async () => {
  const { machine } = await boot();
  const reset = machine.reset({ configuration: { memoryMiB: 24 } });
  await Promise.all([reset, machine.powerOff()]);
  expect([machine.state, machine.configuration.memoryMiB]).toEqual(["stopped", 24]);
});

test("a reset after a load of another configuration brings the one it was asked for", async () => {
  const { device } = await guestDisk();
  guest = await startTinyGuest({ hda: device });
  const { machine } = guest;
  await machine.save("16 MiB");
  await machine.reset({ configuration: { memoryMiB: 24 } });
  await guest.booted();
  const built = holdBuilding();
  const loading = machine.load("16 MiB");
  await built.begun;
  const reset = machine.reset({ configuration: { memoryMiB: 24 } });
  built.go();
  await Promise.all([loading, reset]);
  await guest.booted();
  expect(machine.configuration.memoryMiB).toBe(24);
  await device.close();
});

test("a guest that switches itself off while a reset is under way does not switch off the one that comes", async () => {
  const { guest, machine } = await boot();
  const built = holdBuilding();
  const reset = machine.reset({ configuration: { memoryMiB: 24 } });
  await built.begun;
  const { emulator } = partsOf(machine);
  guest.tell("P");
  while (emulator.is_running()) await guestSlices(1);
  built.go();
  await reset;
  await guest.booted();
  await machine.pause();
  expect(machine.state).toBe("paused");
});

test("a machine that is closed while a reset builds its emulator is not started again", async () => {
  const { machine } = await boot();
  const built = holdBuilding();
  const reset = expect(machine.reset({ configuration: { memoryMiB: 24 } })).rejects.toMatchObject({
    code: "CLOSED",
  });
  await built.begun;
  await machine.close();
  built.go();
  await reset;
  expect([machine.state, partsOf(machine).emulator.is_running()]).toEqual(["stopped", false]);
});

test("a reset for which no emulator can be built leaves the machine as it was", async () => {
  const { guest, machine, device } = await boot();
  device.hold("read");
  expect(await guest.ask(`g${SECTOR}`)).toBe("=00000000");
  vi.spyOn(WebAssembly, "instantiate").mockRejectedValueOnce(new RangeError("out of memory"));
  await expect(machine.reset({ configuration: { memoryMiB: 24 } })).rejects.toMatchObject({
    code: "FIRMWARE",
  });
  device.release("read");
  expect(await guest.ask(`r${SECTOR}`)).toBe(filled(0));
  expect([machine.state, machine.configuration.memoryMiB]).toEqual(["running", 16]);
});

test("a reset to a configuration that cannot be leaves the machine as it was", async () => {
  const { guest, machine, device } = await boot();
  device.hold("read");
  expect(await guest.ask(`g${SECTOR}`)).toBe("=00000000");
  await expect(machine.reset({ configuration: { memoryMiB: 4096 } })).rejects.toMatchObject({
    code: "INVALID_ARGUMENT",
  });
  expect(machine.configuration.memoryMiB).toBe(16);
  device.release("read");
  expect(await guest.ask("Estill here\n")).toBe("still here");
});
