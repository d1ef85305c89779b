import { ExitCode, ExitError } from "./exit.ts";
import type { Out } from "./out.ts";

/** Signals that ask a command to end, Ctrl-C and what a shutdown sends, and its exit codes then. */
const SIGNALS = { SIGINT: ExitCode.INTERRUPTED, SIGTERM: ExitCode.TERMINATED } as const;
type Signal = keyof typeof SIGNALS;
const SIGNAL_NAMES = Object.keys(SIGNALS) as Signal[];

export interface InterruptOptions {
  /** What is left behind if the command ends now, as a sentence about a file by its name. Asked then. */
  readonly leaves: () => string;
  /** Puts away what a command leaves (a half-made output); called once, when the command is being ended. */
  readonly cleanUp?: () => void;
  /**
   * The work looks at its signal and ends by itself, by throwing. Else it is ended where it stands, which is
   * right where any moment leaves a whole or a mendable file. A second Ctrl-C ends either at once.
   */
  readonly cooperative?: boolean;
}

/**
 * For the program's own process: Ctrl-C outside any `interruptible` work ends it with the same exit codes, and
 * has nothing to tell of.
 */
export function exitWhenInterrupted(out: Out): void {
  for (const signal of SIGNAL_NAMES)
    process.on(signal, () => {
      // What else listens has something to do first.
      if (process.listenerCount(signal) > 1) return;
      out.err("\nbyre: interrupted.\n");
      process.exit(SIGNALS[signal]);
    });
}

/**
 * Runs work that Ctrl-C may end, and then says what it leaves behind.
 *
 * @param work gets a signal; `signal.throwIfAborted()` between steps ends it.
 * @throws ExitError 130 when interrupted, 143 after SIGTERM; what the work throws.
 */
export async function interruptible<Result>(
  out: Out,
  options: InterruptOptions,
  work: (signal: AbortSignal) => Promise<Result>,
): Promise<Result> {
  const controller = new AbortController();
  let exitCode: number = ExitCode.INTERRUPTED;
  const endNow = (signal: Signal) => {
    out.err(`\nbyre: interrupted. ${options.leaves()}\n`);
    options.cleanUp?.();
    process.exit(SIGNALS[signal]);
  };
  const onSignal = (signal: Signal) => {
    if (!options.cooperative || controller.signal.aborted) endNow(signal);
    exitCode = SIGNALS[signal];
    controller.abort(new ExitError(exitCode));
  };
  for (const signal of SIGNAL_NAMES) process.on(signal, onSignal);
  try {
    return await work(controller.signal);
  } catch (error) {
    if (!controller.signal.aborted) throw error;
    const leaves = options.leaves();
    options.cleanUp?.();
    throw new ExitError(exitCode, `interrupted. ${leaves}`);
  } finally {
    for (const signal of SIGNAL_NAMES) process.off(signal, onSignal);
  }
}
