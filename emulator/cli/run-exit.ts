export { ExitError } from "../../disk/cli/index.ts";

/** Exit codes of `byre run`. */
export const RunExit = {
  /** The guest switched itself off, or the person left. */
  OK: 0,
  /** It could not be started, or not be ended well. */
  FAILED: 1,
  /** The guest crashed, or a disk failed and nobody was there to try again. */
  MACHINE_FAILED: 2,
  /** A script waited for what did not come. */
  SCRIPT_FAILED: 3,
  /** As timeout(1) has it. */
  TIME_LIMIT: 124,
  HANGUP: 129,
  INTERRUPTED: 130,
  TERMINATED: 143,
} as const;
