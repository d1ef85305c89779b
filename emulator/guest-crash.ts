import { ByreError } from "../disk/index.ts";
import type { V86Cpu, V86WasmImports } from "./v86-internals.ts";

/** An interrupt table whose limit is under this has no entry for the double fault (vector 8, 8 bytes each). */
const DOUBLE_FAULT_LIMIT = 8 * 8 + 7;

/**
 * Whether v86 gave up on what resets a real processor: an exception with no handler to go to. Kernels do it
 * on purpose, as the last of their ways to reboot, with an empty interrupt table. v86 panics instead.
 */
export function isTripleFault(cpu: V86Cpu, error: unknown): boolean {
  return error instanceof WebAssembly.RuntimeError && (cpu.idtr_size[0] ?? 0) < DOUBLE_FAULT_LIMIT;
}

/** The last words of v86's wasm part, which come before its trap. */
export interface PanicLog {
  last: string | undefined;
}

/** Takes them from the console, where v86 would print them also for a reset by triple fault. */
export function collectPanics(
  imports: V86WasmImports,
  memory: () => WebAssembly.Memory | undefined,
  log: PanicLog,
): void {
  const { env } = imports;
  if (!env) return;
  env.console_log_from_wasm = (offset: number, length: number) => {
    const bytes = new Uint8Array(memory()?.buffer ?? new ArrayBuffer(0), offset >>> 0, length >>> 0);
    log.last = new TextDecoder().decode(bytes);
  };
}

/** What the emulator threw in mid-instruction, in words. */
export function guestCrash(error: unknown, panics: PanicLog): ByreError {
  const thrown = error instanceof Error ? error.message : String(error);
  const reason = panics.last?.replaceAll(/\s+/g, " ").trim() ?? thrown;
  return new ByreError(
    "GUEST_CRASH",
    `The guest did something that the emulator cannot do (${reason}). Reset the machine or power it off.`,
    { reason },
    error,
  );
}
