import { afterEach, describe, expect, test, vi } from "vitest";
import type { Qcow2Device } from "../disk/index.ts";
import { SavedStates } from "./saved-states.ts";
import { encodeStateHeader } from "./state-format.ts";
import { directPacker } from "./state-packer.ts";
import { type GuestLine, startTinyGuest } from "./testing/guest-line.ts";
import { filled, guestDisk, partsOf, READY, SECTOR } from "./testing/saved-machine.ts";

let guests: GuestLine[] = [];
afterEach(async () => {
  for (const guest of guests) await guest.machine.close();
  guests = [];
});

/** A machine with a saved state whose disk is not as then any more. */
async function saved() {
  const { device } = await guestDisk();
  const guest = await startTinyGuest({ hda: device });
  guests.push(guest);
  const { machine, ask } = guest;
  await ask(`W${SECTOR}61`);
  await machine.save("one");
  expect(await ask(`W${SECTOR}62`)).toBe(READY);
  return { device, ...guest };
}

/** Makes of a state one without fingerprints, as an older program's, whose devices are nonsense. */
async function spoil(device: Qcow2Device, name: string): Promise<void> {
  const opened = await new SavedStates({ hda: device }, directPacker, () => ["hda"]).open(name, false);
  if (!("header" in opened)) throw new Error(`${name} has no state`);
  const { prints: _, ...header } = opened.header;
  const { clusterSizeBytes } = device.header;
  const writer = await device.editState(name);
  const first = new Uint8Array(clusterSizeBytes);
  first.set(encodeStateHeader(header));
  await writer.writeCluster(0, first);
  const nonsense = new Uint8Array(clusterSizeBytes).fill(7);
  await writer.writeCluster(header.device.offsetBytes / clusterSizeBytes, nonsense);
  await writer.finish({ name, vmStateBytes: opened.reader.sizeBytes });
}

describe("a state whose devices the emulator refuses", () => {
  test("leaves a machine that is off as it was, without fingerprints", async () => {
    const { device, machine, ask, booted } = await saved();
    await spoil(device, "one");
    await machine.powerOff();
    await expect(machine.load("one")).rejects.toMatchObject({ code: "STATE_INVALID" });
    expect([machine.state, machine.error]).toEqual(["stopped", undefined]);
    expect(device.snapshots.map(({ name }) => name)).toEqual(["one"]);
    await machine.reset();
    await booted();
    expect(await ask(`R${SECTOR}`)).toBe(filled(0x62));
  });

  test("ends a guest that runs and leaves its disk, without fingerprints", async () => {
    const { device, machine, ask, booted } = await saved();
    await spoil(device, "one");
    await expect(machine.load("one")).rejects.toMatchObject({ code: "STATE_INVALID" });
    expect(machine).toMatchObject({ state: "error", error: { code: "STATE_INVALID" } });
    await expect(machine.retry()).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    await machine.reset();
    await booted();
    expect(await ask(`R${SECTOR}`)).toBe(filled(0x62));
  });

  test("ends a machine that is off in an error, with fingerprints: its disk is another", async () => {
    const { machine, ask, booted } = await saved();
    await machine.powerOff();
    vi.spyOn(partsOf(machine).emulator, "restore_state").mockRejectedValueOnce(new Error("refused"));
    await expect(machine.load("one")).rejects.toMatchObject({ code: "STATE_INVALID" });
    expect(machine).toMatchObject({ state: "error", error: { code: "STATE_INVALID" } });
    await expect(machine.retry()).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    await machine.reset();
    await booted();
    expect(await ask(`R${SECTOR}`)).toBe(filled(0x61));
  });

  test("and then takes leaves nothing of what was kept", async () => {
    const { device, machine, ask } = await saved();
    await spoil(device, "one");
    vi.spyOn(partsOf(machine).emulator, "restore_state").mockResolvedValueOnce(undefined);
    await machine.load("one");
    expect(machine.state).toBe("running");
    expect(device.snapshots.map(({ name }) => name)).toEqual(["one"]);
    expect(await ask(`R${SECTOR}`)).toBe(filled(0x61));
  });
});
