import { ByreError } from "../disk/index.ts";
import type { V86Cpu } from "./v86-internals.ts";

/** An interrupt table whose limit is under this has no entry for the double fault (vector 8, 8 bytes each). */
const DOUBLE_FAULT_LIMIT = 8 * 8 + 7;

/**
 * Whether v86 gave up on what resets a real processor: an exception with no handler to go to. Kernels do it
 * on purpose, as the last of their ways to reboot, with an empty interrupt table. v86 panics instead.
 */
export function isTripleFault(cpu: V86Cpu, error: unknown): boolean {
  return error instanceof WebAssembly.RuntimeError && (cpu.idtr_size[0] ?? 0) < DOUBLE_FAULT_LIMIT;
}

/** What the emulator threw in mid-instruction, in words. */
export function guestCrash(error: unknown): ByreError {
  const reason = error instanceof Error ? error.message : String(error);
  return new ByreError(
    "GUEST_CRASH",
    `The guest did something that the emulator cannot do (${reason}). Reset the machine or power it off.`,
    { reason },
    error,
  );
}
