import { vi } from "vitest";

/** Only for what never comes: how long a thing takes depends on what else the machine does. */
const TIMEOUT_MS = 20_000;

/** Waits until `check` no longer throws. */
export function waitFor(check: () => void | Promise<void>): Promise<void> {
  return vi.waitFor(check, { timeout: TIMEOUT_MS });
}
