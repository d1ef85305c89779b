import { afterEach, describe, expect, test } from "vitest";
import { createMemoryFile, openQcow2 } from "../disk/index.ts";
import { Bench, hasQemu, qemuImg, qemuIo } from "../disk/testing/qemu.ts";
import { startHeadlessMachine } from "./node.ts";
import { type GuestLine, guestLine, startTinyGuest } from "./testing/guest-line.ts";
import {
  filled,
  fillWithNoise,
  guestDisk,
  memoryOf,
  SECTOR,
  SPARE_ADDRESS,
} from "./testing/saved-machine.ts";
import { TINY_GUEST_FREE_SECTOR } from "./testing/tiny-guest.ts";

const MIB = 1024 * 1024;
const IMAGE = "hda.qcow2";

let guests: GuestLine[] = [];
let bench: Bench | undefined;
afterEach(async () => {
  for (const guest of guests) await guest.machine.close();
  guests = [];
  bench?.remove();
  bench = undefined;
});

/** A file with a machine saved as "ready", whose disk has been written to since. */
async function savedMachine(): Promise<{ bench: Bench; path: string; memory: Uint8Array }> {
  bench = new Bench();
  const { file, device } = await guestDisk();
  const guest = await startTinyGuest({ hda: device });
  guests.push(guest);
  await guest.ask(`W${SECTOR}77`);
  fillWithNoise(memoryOf(guest.machine).subarray(SPARE_ADDRESS, SPARE_ADDRESS + MIB));
  const memory = memoryOf(guest.machine).slice(SPARE_ADDRESS, SPARE_ADDRESS + MIB);
  await guest.machine.save("ready");
  await guest.ask(`W${SECTOR}88`);
  await guest.machine.pause();
  return { bench, path: bench.put(IMAGE, file.toBytes()), memory };
}

describe.skipIf(!hasQemu)("a saved machine in QEMU's hands", () => {
  test("is an ordinary snapshot: listed, read, deleted", async () => {
    const { bench, path } = await savedMachine();
    bench.check(IMAGE);
    expect(qemuImg("snapshot", "-l", path)).toMatch(
      /ready +\d+(\.\d+)? MiB \d{4}-\d\d-\d\d \d\d:\d\d:\d\d \d\d:\d\d:\d\d\.\d{3}/,
    );
    const at = TINY_GUEST_FREE_SECTOR * 512;
    expect(bench.guestBytes(IMAGE, ["-l", "ready"])[at]).toBe(0x77);
    expect(bench.guestBytes(IMAGE)[at]).toBe(0x88);
    qemuImg("snapshot", "-d", "ready", path);
    bench.check(IMAGE);
  });

  test("goes on after whatever QEMU does to its image", async () => {
    const { bench, path, memory } = await savedMachine();
    const doings: [what: string, act: () => void][] = [
      ["another snapshot", () => qemuImg("snapshot", "-c", "other", path)],
      ["a write", () => qemuIo(path, ["write -P 0x99 64k 256k"])],
      ["a discard", () => qemuIo(path, ["discard 1M 1M"])],
      ["a snapshot deleted", () => qemuImg("snapshot", "-d", "other", path)],
      ["the disk put back", () => qemuImg("snapshot", "-a", "ready", path)],
      ["lazy refcounts", () => qemuImg("amend", "-o", "lazy_refcounts=on", path)],
      ["wider refcounts", () => qemuImg("amend", "-o", "refcount_bits=64", path)],
      ["another backing name", () => qemuImg("rebase", "-u", "-b", "", path)],
      ["a larger disk", () => qemuImg("resize", path, "+4M")],
      ["a repair", () => qemuImg("check", "-r", "all", path)],
    ];
    for (const [what, act] of doings) {
      act();
      bench.check(IMAGE);
      const device = await openQcow2(createMemoryFile({ name: IMAGE, content: bench.bytes(IMAGE) }));
      const machine = await startHeadlessMachine({
        disks: { hda: device },
        startFrom: { device, snapshot: "ready" },
      });
      const guest = guestLine(machine, machine.serial.text().length);
      guests.push(guest);
      const there = memoryOf(guest.machine).subarray(SPARE_ADDRESS, SPARE_ADDRESS + MIB);
      expect(Buffer.compare(there, memory), what).toBe(0);
      expect(await guest.ask(`R${SECTOR}`), what).toBe(filled(0x77));
    }
  });
});
