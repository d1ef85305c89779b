/**
 * Ends a command with an exit code. Thrown, never `process.exit`: so what is open is closed on the way out,
 * and a test can run a command in its own process.
 */
export class ExitError extends Error {
  /**
   * @param exitCode as qemu-img's for the same end.
   * @param message for stderr, after `byre: `; left out when the command has said all there is to say.
   */
  constructor(
    readonly exitCode: number,
    message = "",
  ) {
    super(message);
    this.name = "ExitError";
  }
}

/** Exit codes that mean the same in every command; what else one gives stands in its own module. */
export const ExitCode = {
  OK: 0,
  FAILED: 1,
  /** Ended by Ctrl-C, as a shell counts it: 128 + SIGINT. */
  INTERRUPTED: 130,
  /** Ended by SIGTERM. */
  TERMINATED: 143,
} as const;
