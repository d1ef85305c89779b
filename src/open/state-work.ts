import { ByreError } from "../../disk/index.ts";
import type { SessionActivity, WorkOptions } from "./machine-session.ts";

/** What a piece of work is handed: it tells how far it is, and hears that it was called off. */
export interface WorkHooks {
  readonly onProgress: (fraction: number) => void;
  readonly signal: AbortSignal;
}

/** Steps of progress that are told to whoever looks: as fine as a bar on a screen is. */
const PROGRESS_STEPS = 100;

/**
 * Work on the saved states of one machine. One piece is done after the other, so that nothing reads or copies
 * the image while a state is being written into it.
 */
export class StateWork {
  private line: Promise<unknown> = Promise.resolve();
  private shown: SessionActivity | undefined;
  private readonly under: AbortController[] = [];

  constructor(private readonly onChange: () => void) {}

  /** What is being done now, where a person is shown it. */
  get activity(): SessionActivity | undefined {
    return this.shown;
  }

  /** Whether something is being done or waits for its turn. */
  get busy(): boolean {
    return this.under.length > 0;
  }

  /** Does something once everything asked for before is done. */
  inTurn<Result>(work: (hooks: WorkHooks) => Promise<Result>, options: WorkOptions = {}): Promise<Result> {
    const abort = new AbortController();
    const cancel = () => abort.abort();
    if (options.signal?.aborted) cancel();
    options.signal?.addEventListener("abort", cancel);
    this.under.push(abort);
    const turn = this.line.then(() => {
      if (abort.signal.aborted) throw calledOff();
      return work({ onProgress: (fraction) => options.onProgress?.(fraction), signal: abort.signal });
    });
    const end = () => {
      options.signal?.removeEventListener("abort", cancel);
      this.under.splice(this.under.indexOf(abort), 1);
    };
    this.line = turn.then(end, end);
    return turn;
  }

  /** As `inTurn`, and shows it while it is done. */
  show<Result>(
    what: Pick<SessionActivity, "kind" | "name">,
    options: WorkOptions,
    work: (hooks: WorkHooks) => Promise<Result>,
  ): Promise<Result> {
    const calling = new AbortController();
    const signals = options.signal ? [options.signal, calling.signal] : [calling.signal];
    let done = false;
    const become = (fraction: number) => {
      // It may be called off when it is over, by whoever saw it before.
      if (done) return;
      const cancel = () => {
        calling.abort();
        become(fraction);
      };
      this.shown = { ...what, fraction, ...(!calling.signal.aborted && { cancel }) };
      this.onChange();
    };
    const signal = AbortSignal.any(signals);
    return this.inTurn(
      async (hooks) => {
        become(0);
        try {
          return await work({
            ...hooks,
            onProgress: (fraction) => {
              // Of what failed in one part, others may go on for a moment.
              if (done) return;
              const before = this.shown?.fraction ?? 0;
              if (Math.floor(fraction * PROGRESS_STEPS) !== Math.floor(before * PROGRESS_STEPS))
                become(fraction);
              hooks.onProgress(fraction);
            },
          });
        } finally {
          done = true;
          this.shown = undefined;
          this.onChange();
        }
      },
      { ...options, signal },
    );
  }

  /** Calls everything off, and resolves when nothing is under way any more. */
  async end(): Promise<void> {
    for (const abort of this.under) abort.abort();
    await this.line;
  }
}

function calledOff(): ByreError {
  return new ByreError("CANCELLED", "This was called off; everything is as it was.");
}
