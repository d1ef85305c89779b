import { ByreError } from "../../disk/index.ts";
import { ExitError, RunExit } from "./run-exit.ts";

/** What the host says of a disk without room. The messages of these advise to try again. */
const FULL: Readonly<Record<string, string>> = {
  ENOSPC: "the disk is full.",
  EDQUOT: "your disk quota is used up.",
};

/** An error's message at the end of a run, when nobody can try again any more. */
export function lastWords(error: unknown): string {
  if (!(error instanceof ByreError)) return error instanceof Error ? error.message : String(error);
  const full = FULL[String(error.data.hostCode)];
  return full === undefined ? error.message : `${error.data.file}: ${full}`;
}

/** What was written last could not be stored, and why. */
export function notStored(error: unknown): string {
  return `What was written last is not stored: ${lastWords(error)}`;
}

/**
 * Does a run's work, and closes what it was done with whatever came of it.
 *
 * @throws what failed first; a failure to close besides, which tells of what was not stored, is in its message.
 */
export async function thenClose(work: () => Promise<void>, close: () => Promise<void>): Promise<void> {
  let failure: unknown;
  try {
    await work();
  } catch (error) {
    failure = error;
  }
  try {
    await close();
  } catch (error) {
    failure = withUnstored(failure, error);
  }
  if (failure !== undefined) throw failure;
}

function withUnstored(failure: unknown, unstored: unknown): unknown {
  const message = failure instanceof Error ? failure.message : "";
  // An end without a message is one in good order, as after SIGTERM.
  if (message === "") return new ExitError(RunExit.MACHINE_FAILED, notStored(unstored));
  if (!(failure instanceof ExitError) || message.includes(lastWords(unstored))) return failure;
  return new ExitError(failure.exitCode, `${message} ${notStored(unstored)}`);
}
