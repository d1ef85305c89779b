import { afterEach, expect, test } from "vitest";
import { ByreError } from "../disk/index.ts";
import {
  type GuestLine,
  guestSlices,
  hex8,
  memoryDisk,
  startTinyGuest,
  stateReached,
} from "./testing/guest-line.ts";
import { createScriptedDevice } from "./testing/scripted-device.ts";
import { TINY_GUEST_BANNER, TINY_GUEST_FREE_SECTOR, tinyGuestChecksum } from "./testing/tiny-guest.ts";

const MIB = 1024 * 1024;
const SECTOR = hex8(TINY_GUEST_FREE_SECTOR);
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
const networkError = new ByreError("NETWORK", "The server went away.");
const quotaError = new ByreError("QUOTA_EXCEEDED", "There is no room left.");

for (const [command, operation, byte] of [
  [`R${SECTOR}`, "read", 0],
  [`r${SECTOR}`, "read", 0],
  [`W${SECTOR}42`, "write", 0x42],
  [`w${SECTOR}42`, "write", 0x42],
] as const) {
  test(`a failed ${operation} (${command[0]}) stops the machine; retry goes on where it stopped`, async () => {
    const { guest, machine, device } = await boot({ immediate: false });
    device.fail(operation, networkError);
    guest.tell(command);
    await stateReached(machine, "error");
    expect(machine.error).toEqual({ code: "NETWORK", message: networkError.message, cause: networkError });
    await expect(machine.retry()).rejects.toBe(networkError);
    expect(machine.state).toBe("error");
    await guestSlices(20);
    expect(machine.serial.text().endsWith(TINY_GUEST_BANNER)).toBe(true);

    device.fail(operation, undefined);
    await machine.retry();
    expect(machine.state).toBe("running");
    expect(machine.error).toBeUndefined();
    expect(await guest.answer()).toBe(operation === "read" ? filled(0) : READY);
    expect(await guest.ask(`r${SECTOR}`)).toBe(filled(byte));
  });
}

test("a failed flush keeps the guest waiting until a retry has flushed", async () => {
  const { guest, machine, device } = await boot();
  device.fail("flush", quotaError);
  guest.tell("F");
  await stateReached(machine, "error");
  expect(machine.error?.code).toBe("QUOTA_EXCEEDED");
  expect(machine.serial.text().endsWith(TINY_GUEST_BANNER)).toBe(true);
  device.fail("flush", undefined);
  await machine.retry();
  expect(await guest.answer()).toBe(READY);
});

test("power-off in an error says what could not be stored, and stops", async () => {
  const { guest, machine, device } = await boot();
  await guest.ask(`w${SECTOR}01`);
  device.fail("flush", quotaError);
  device.pretendDirty(512);
  guest.tell("F");
  await stateReached(machine, "error");
  const failure = await machine.powerOff().catch((error: unknown) => error);
  expect(failure).toMatchObject({ code: "QUOTA_EXCEEDED", data: { file: "hda.raw", dirtyBytes: 512 } });
  expect(machine.state).toBe("stopped");
});

test("a power-off that cannot flush is an error first, and retry completes it", async () => {
  const { machine, device } = await boot();
  device.fail("flush", quotaError);
  await expect(machine.powerOff()).rejects.toMatchObject({ code: "QUOTA_EXCEEDED" });
  expect(machine.state).toBe("error");
  device.fail("flush", undefined);
  await machine.retry();
  expect(machine.state).toBe("stopped");
});

test("a guest that the emulator cannot follow is a crash: no retry, but a reset", async () => {
  const { guest, machine } = await boot();
  guest.tell("K");
  await stateReached(machine, "error");
  expect(machine.error?.code).toBe("GUEST_CRASH");
  expect(machine.error?.message).toMatch(/panicked.*#GP handler/);
  await expect(machine.retry()).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
  await machine.reset();
  await guest.booted();
  expect(await guest.ask(`r${SECTOR}`)).toBe(filled(0));
});

test("a reset leaves an error behind", async () => {
  const { guest, machine, device } = await boot({ immediate: false });
  device.fail("read", networkError);
  guest.tell(`r${SECTOR}`);
  await stateReached(machine, "error");
  device.fail("read", undefined);
  await machine.reset();
  await guest.booted();
  expect(await guest.ask(`r${SECTOR}`)).toBe(filled(0));
});
