import { ExitCode, ExitError } from "./exit.ts";

const CACHE_MODES = ["none", "off", "directsync", "writeback", "unsafe", "writethrough"];

/**
 * QEMU's cache modes are about its own caches and have no effect here; a word that is none is still a mistake.
 *
 * @param what begins the message: "cache" or "source cache".
 */
export function checkCacheMode(mode: string | undefined, what: "cache" | "source cache" = "cache"): void {
  if (mode === undefined || CACHE_MODES.includes(mode)) return;
  throw new ExitError(ExitCode.FAILED, `Invalid ${what} option: ${mode}`);
}
