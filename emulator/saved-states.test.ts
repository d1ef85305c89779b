import { afterEach, describe, expect, test } from "vitest";
import {
  createMemoryFile,
  createQcow2,
  type MemoryFile,
  openQcow2,
  type Qcow2Device,
} from "../disk/index.ts";
import { Bench, hasQemu, qemuImg } from "../disk/testing/qemu.ts";
import type { EmulatorParts } from "./emulator-parts.ts";
import { type GuestLine, hex8, startTinyGuest } from "./testing/guest-line.ts";
import { TINY_GUEST_FREE_SECTOR, tinyGuestChecksum, tinyGuestImage } from "./testing/tiny-guest.ts";

const MIB = 1024 * 1024;
const SECTOR = hex8(TINY_GUEST_FREE_SECTOR);
const READY = "=00000050";
/** Memory that the tiny guest leaves alone. */
const SPARE_ADDRESS = 9 * MIB;

const filled = (byte: number) => `=${tinyGuestChecksum(new Uint8Array(512).fill(byte))}`;

let guests: GuestLine[] = [];
afterEach(async () => {
  for (const guest of guests) await guest.machine.close();
  guests = [];
});

async function guestDisk(): Promise<{ file: MemoryFile; device: Qcow2Device }> {
  const file = createMemoryFile({ name: "hda.qcow2" });
  await createQcow2(file, { sizeBytes: 4 * MIB });
  const device = await openQcow2(file);
  await device.write(0, tinyGuestImage(MIB));
  return { file, device };
}

async function boot(disks: { hda: Qcow2Device; hdb?: Qcow2Device }): Promise<GuestLine> {
  const guest = await startTinyGuest(disks);
  guests.push(guest);
  return guest;
}

function memoryOf({ machine }: GuestLine): Uint8Array {
  return (machine as unknown as { parts: EmulatorParts }).parts.emulator.v86.cpu.mem8;
}

describe("a saved machine", () => {
  test("goes on where it was, memory and disk, as often as it is loaded", async () => {
    const { device } = await guestDisk();
    const guest = await boot({ hda: device });
    const { machine } = guest;
    expect(await guest.ask(`W${SECTOR}11`)).toBe(READY);
    memoryOf(guest).fill(0xab, SPARE_ADDRESS, SPARE_ADDRESS + 200_000);
    const steps: number[] = [];
    await machine.save("one", { onProgress: (fraction) => steps.push(fraction) });
    expect(machine.state).toBe("running");
    expect(steps.at(-1)).toBe(1);
    expect(machine.snapshots().map(({ name }) => name)).toEqual(["one"]);
    for (let round = 0; round < 5; round++) {
      expect(await guest.ask(`W${SECTOR}22`)).toBe(READY);
      memoryOf(guest).fill(round, SPARE_ADDRESS, SPARE_ADDRESS + MIB);
      await machine.load("one");
      expect(memoryOf(guest)[SPARE_ADDRESS + 100_000]).toBe(0xab);
      expect(memoryOf(guest)[SPARE_ADDRESS + 300_000]).toBe(0);
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
    const again = await openQcow2(createMemoryFile({ name: "again.qcow2", content: file.toBytes() }));
    const other = await boot({ hda: again });
    await other.machine.load("ready");
    expect(await other.ask(`R${SECTOR}`)).toBe(filled(0x33));
  });

  test("shares with the save before it what has not changed", async () => {
    const { file, device } = await guestDisk();
    const guest = await boot({ hda: device });
    const noise = memoryOf(guest).subarray(SPARE_ADDRESS, SPARE_ADDRESS + 3 * MIB);
    let seed = 1;
    for (let i = 0; i < noise.length; i++) {
      seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
      noise[i] = seed >>> 24;
    }
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
    const second = createMemoryFile({ name: "hdb.qcow2" });
    await createQcow2(second, { sizeBytes: MIB });
    const hdb = await openQcow2(second);
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

  test.skipIf(!hasQemu)("is an ordinary snapshot to QEMU", async () => {
    const bench = new Bench();
    const { file, device } = await guestDisk();
    const guest = await boot({ hda: device });
    await guest.machine.save("ready");
    await guest.ask(`W${SECTOR}88`);
    await guest.machine.pause();
    const path = bench.put("hda.qcow2", file.toBytes());
    bench.check("hda.qcow2");
    expect(qemuImg("snapshot", "-l", path)).toMatch(/ready +\d+(\.\d+)? MiB/);
    expect(bench.guestBytes("hda.qcow2", ["-l", "ready"])[TINY_GUEST_FREE_SECTOR * 512]).toBe(0);
    qemuImg("snapshot", "-d", "ready", path);
    bench.check("hda.qcow2");
    bench.remove();
  });
});
