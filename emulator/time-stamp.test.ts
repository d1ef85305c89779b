import { afterEach, expect, test } from "vitest";
import type { HeadlessMachine } from "./node.ts";
import { startTinyGuest } from "./testing/guest-line.ts";
import { guestDisk, partsOf } from "./testing/saved-machine.ts";

const MINUTE_TICKS = 60_000_000_000n;
/** v86's processor counts 1000 a microsecond. */
const SECOND_TICKS = 1_000_000_000n;

let machine: HeadlessMachine | undefined;
afterEach(() => machine?.close());

test("loads and resets set the time stamp counter each to what it is to be, however often", async () => {
  const { device } = await guestDisk();
  const guest = await startTinyGuest({ hda: device });
  machine = guest.machine;
  const { cpu } = partsOf(machine).emulator.v86;
  const ticks = () => {
    cpu.store_current_tsc();
    const [low = 0, high = 0] = cpu.current_tsc;
    return (BigInt(high) << 32n) | BigInt(low);
  };
  // The machine is from one that had run for some minutes longer than this one.
  const ahead = ticks() + 5n * MINUTE_TICKS;
  cpu.set_tsc(Number(ahead & 0xffff_ffffn), Number(ahead >> 32n));
  await machine.save("now");
  const saved = ticks();
  for (let load = 0; load < 3; load++) {
    await machine.load("now");
    expect(ticks()).toBeGreaterThan(saved - SECOND_TICKS);
    expect(ticks()).toBeLessThan(saved + MINUTE_TICKS);
  }
  await machine.reset();
  expect(ticks()).toBeLessThan(MINUTE_TICKS);
});
