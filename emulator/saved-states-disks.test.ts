import { afterEach, describe, expect, test } from "vitest";
import { createQcow2, openQcow2, type Qcow2Device } from "../disk/index.ts";
import { createQuotaFile, type QuotaFile } from "../disk/testing/quota-file.ts";
import type { HeadlessMachine } from "./node.ts";
import { startTinyGuest } from "./testing/guest-line.ts";
import { filled, guestDiskIn, SECTOR } from "./testing/saved-machine.ts";

const MIB = 1024 * 1024;

let machines: HeadlessMachine[] = [];
afterEach(async () => {
  for (const machine of machines) await machine.close();
  machines = [];
});

/** A machine whose two disks a test writes to at once, each in a storage that fails when it says so. */
async function bootTwo() {
  const hdaFile = createQuotaFile(new Uint8Array(0), "hda.qcow2");
  const hda = await guestDiskIn(hdaFile);
  const hdbFile = createQuotaFile(new Uint8Array(0), "hdb.qcow2");
  await createQcow2(hdbFile, { sizeBytes: MIB });
  const hdb = await openQcow2(hdbFile);
  const { machine, ask } = await startTinyGuest({ hda, hdb });
  machines.push(machine);
  return {
    machine,
    hda,
    hdb,
    hdaFile,
    hdbFile,
    /** Writes a byte to both disks. */
    async write(byte: number) {
      for (const drive of ["0", "1"]) {
        await ask(drive);
        await ask(`W${SECTOR}${byte.toString(16)}`);
      }
      await machine.flush();
    },
    /** What both disks read as. */
    async read() {
      const sums: string[] = [];
      for (const drive of ["0", "1"]) {
        await ask(drive);
        sums.push(await ask(`R${SECTOR}`));
      }
      return sums;
    },
  };
}

const both = (byte: number) => [filled(byte), filled(byte)];
const names = ({ snapshots }: Qcow2Device) => snapshots.map(({ name }) => name);

/** Lets one flush fail, the `point`th from now on; returns why the work failed, and whether there was such a flush. */
async function failingOnce(file: QuotaFile, point: number, work: () => Promise<unknown>) {
  file.failFrom = file.flushes + point;
  file.failTo = file.failFrom + 1;
  const failure = await work().then(
    () => undefined,
    (error: unknown) => error,
  );
  const hit = file.flushes > file.failFrom;
  file.failFrom = Number.POSITIVE_INFINITY;
  return { failure, hit };
}

describe("a save of two disks in the place of another", () => {
  test.each(["hdaFile", "hdbFile"] as const)(
    "is never of two moments, whichever flush of %s fails",
    async (which) => {
      const guest = await bootTwo();
      const { machine, hda, hdb, write, read } = guest;
      let failures = 0;
      for (let point = 0; ; point++) {
        await write(0x61);
        await machine.save("auto");
        await write(0x62);
        const { failure, hit } = await failingOnce(guest[which], point, () => machine.save("auto"));
        await write(0x63);
        await machine.load("auto");
        expect(await read(), `flush ${point}`).toEqual(both(failure ? 0x61 : 0x62));
        // What a failure left goes with the next save.
        await machine.save("auto");
        expect([names(hda), names(hdb)]).toEqual([["auto"], ["auto"]]);
        if (!hit) break;
        failures++;
      }
      expect(failures).toBeGreaterThan(1);
    },
  );
});
