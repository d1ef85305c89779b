import { ByreError } from "../../disk/index.ts";

/** The right to be the one writer of a machine, among all tabs of this browser. */
export interface MachineLock {
  release(): void;
}

/** A tab that was closed or reloaded a moment ago may not be wholly gone. */
const WAIT_MS = 2000;

/**
 * Takes a machine for this tab. The browser gives it back when the tab goes, however it goes.
 *
 * @throws ByreError IN_USE when another tab has it; ACCESS_DENIED where the browser has no locks.
 */
export async function lockMachine(id: string, name: string): Promise<MachineLock> {
  if (!navigator.locks) {
    throw new ByreError(
      "ACCESS_DENIED",
      `${name} cannot be opened safely: browsers guard a machine's disk against a second tab only on https ` +
        "pages and on localhost. Serve this page over https, or open it on the machine that serves it.",
      { machine: id },
    );
  }
  return new Promise((resolve, reject) => {
    const inUse = () =>
      new ByreError(
        "IN_USE",
        `${name} is open in another tab or window. Go on there, or close it there and try again here.`,
        { machine: id },
      );
    const signal = AbortSignal.timeout(WAIT_MS);
    navigator.locks
      .request(`byre-machine-${id}`, { signal }, () => new Promise<void>((release) => resolve({ release })))
      .catch((error: unknown) => reject(signal.aborted ? inUse() : error));
  });
}
