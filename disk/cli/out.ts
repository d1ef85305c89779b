/** Where a command writes. Tests collect; the program writes to its own streams. */
export interface Out {
  /** Results: stdout, exactly as given. */
  out(text: string): void;
  /** Warnings, errors, progress that came by itself: stderr, exactly as given. */
  err(text: string): void;
  /** Whether a person watches stderr, so that progress may be drawn there. */
  readonly isTerminal: boolean;
}

/** The program's own streams. */
export function processOut(): Out {
  return {
    out: (text) => void process.stdout.write(text),
    err: (text) => void process.stderr.write(text),
    isTerminal: process.stderr.isTTY === true,
  };
}

/** Tells of what is no error and yet should be known. */
export function warningsTo(out: Out): (message: string) => void {
  return (message) => out.err(`byre: warning: ${message}\n`);
}
