import fc from "fast-check";
import { afterEach, expect, test } from "vitest";
import { type GuestLine, hex2, hex8, memoryDisk, startTinyGuest } from "./testing/guest-line.ts";
import { createScriptedDevice } from "./testing/scripted-device.ts";
import { TINY_GUEST_FREE_SECTOR, tinyGuestChecksum, tinyGuestImage } from "./testing/tiny-guest.ts";

const DISK_BYTES = 256 * 1024;
/** Few sectors, so that operations meet. */
const SECTORS = 6;
/** About 2 ms each, a reset 70 ms: the whole stays within some seconds. */
const OPERATIONS = 60;
const RUNS = 8;

let guest: GuestLine | undefined;
afterEach(async () => {
  await guest?.machine.close();
  guest = undefined;
});

const sector = fc.integer({ min: TINY_GUEST_FREE_SECTOR, max: TINY_GUEST_FREE_SECTOR + SECTORS - 1 });
const operation = fc.oneof(
  { weight: 8, arbitrary: fc.record({ kind: fc.constantFrom("R", "r"), sector }) },
  {
    weight: 8,
    arbitrary: fc.record({ kind: fc.constantFrom("W", "w"), sector, byte: fc.integer({ min: 0, max: 255 }) }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constantFrom("F", "X") }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constantFrom("reset", "reboot", "pause") }) },
);

for (const immediate of [true, false]) {
  test(`random reads, writes, flushes and resets agree with a plain array (${immediate ? "hits" : "misses"})`, async () => {
    const device = createScriptedDevice(memoryDisk(DISK_BYTES), { immediate });
    guest = await startTinyGuest({ hda: device });
    const line = guest;
    const model = tinyGuestImage(DISK_BYTES);
    await fc.assert(
      fc.asyncProperty(fc.array(operation, { maxLength: OPERATIONS }), async (operations) => {
        for (const step of operations) {
          if ("byte" in step) {
            expect(await line.ask(step.kind + hex8(step.sector) + hex2(step.byte))).toBe("=00000050");
            model.fill(step.byte, step.sector * 512, (step.sector + 1) * 512);
          } else if ("sector" in step) {
            const expected = model.subarray(step.sector * 512, (step.sector + 1) * 512);
            expect(await line.ask(step.kind + hex8(step.sector))).toBe(`=${tinyGuestChecksum(expected)}`);
          } else if (step.kind === "reset") {
            await line.machine.reset();
            await line.booted();
          } else if (step.kind === "reboot") {
            line.tell("B");
            await line.booted();
          } else if (step.kind === "pause") {
            await line.machine.pause();
            await line.machine.resume();
          } else {
            expect(await line.ask(step.kind)).toBe("=00000050");
          }
        }
        const stored = new Uint8Array(DISK_BYTES);
        await device.read(0, stored);
        expect(stored).toEqual(model);
      }),
      { numRuns: RUNS },
    );
  }, 150_000);
}
