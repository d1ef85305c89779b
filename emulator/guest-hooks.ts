import type { ByreError } from "../disk/index.ts";
import { mendEventStatus, watchPowerOff } from "./acpi.ts";
import type { EmulatorParts } from "./emulator-parts.ts";
import { guestCrash, isTripleFault } from "./guest-crash.ts";
import { resetWholePlatform } from "./platform-reset.ts";
import { mendTimeStamp } from "./time-stamp.ts";

/** What v86 waits, in milliseconds, before it asks a processor that cannot go on for more work. */
const DEAD_MS = 100;

/** Until it is asked again whether the guest may go on. */
const HELD_MS = 1;

/** What a machine wants to hear of its guest, and do for it. */
export interface GuestEvents {
  /** Before each slice of the guest's time; returns whether the next one should come soon. */
  onSlice(): boolean;
  /** Whether the guest is to stand still for now. */
  isHeld(): boolean;
  /** The guest or its owner has reset the machine. */
  onReset(): void;
  /** The guest has switched itself off, or come to its end. */
  onStop(): void;
  onCrash(error: ByreError): void;
}

/** Listens to a guest. Called once for an emulator, before it first runs or takes a saved state. */
export function hookGuest({ emulator, panics }: EmulatorParts, events: GuestEvents): void {
  const { cpu } = emulator.v86;
  resetWholePlatform(cpu, () => events.onReset());
  mendEventStatus(cpu);
  mendTimeStamp(cpu);
  watchPowerOff(cpu, () => events.onStop());
  // Halted with interrupts off: a kernel without ACPI has reached its end.
  emulator.add_listener("cpu-event-halt", () => events.onStop());

  const runSlice = cpu.main_loop;
  cpu.main_loop = () => {
    if (events.isHeld()) return HELD_MS;
    const moreInput = events.onSlice();
    try {
      const waitMs = runSlice.call(cpu);
      return moreInput ? 0 : waitMs;
    } catch (error) {
      if (isTripleFault(cpu, error)) {
        cpu.reboot_internal();
        return 0;
      }
      events.onCrash(guestCrash(error, panics));
      return DEAD_MS;
    }
  };
}
