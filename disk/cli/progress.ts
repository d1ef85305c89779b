import type { Out } from "./out.ts";
import { fixedDecimals } from "./sizes.ts";

/** Work shorter than this needs no bar, in milliseconds. */
const QUIET_MS = 2000;
/** Between two drawings on a terminal, in milliseconds: fast enough to look alive. */
const REDRAW_MS = 100;
const BAR_COLUMNS = 30;

export interface ProgressOptions {
  /** `-p`: as qemu-img prints it, on stdout, terminal or not. */
  readonly requested?: boolean | undefined;
  /** `-q`: nothing unless requested. */
  readonly quiet?: boolean | undefined;
  /** For tests. Default: the clock. */
  readonly now?: () => number;
}

/** How far a piece of work has come. */
export interface Progress {
  /** @param fraction 0 to 1; never goes back. */
  update(fraction: number): void;
  /** Ends the line. Call it also when the work has failed. */
  end(): void;
}

/**
 * Shows how far work has come: with `-p` as qemu-img does; else, when it takes over two seconds and a person
 * watches, as a bar that goes when the work is done.
 */
export function startProgress(out: Out, options: ProgressOptions = {}): Progress {
  if (options.requested) return requestedProgress(out);
  if (options.quiet || !out.isTerminal) return { update() {}, end() {} };
  return terminalProgress(out, options.now ?? (() => performance.now()));
}

function requestedProgress(out: Out): Progress {
  let shown = 0;
  const show = (percent: number) => {
    shown = percent;
    out.out(`    (${fixedDecimals(percent, 2)}/100%)\r`);
  };
  show(0);
  return {
    update(fraction) {
      const percent = Math.min(1, fraction) * 100;
      // QEMU too leaves out steps below 1 %, and says 100 % each time it is told so.
      if (percent - shown >= 1 || percent === 100) show(percent);
    },
    end: () => out.out("\n"),
  };
}

function terminalProgress(out: Out, now: () => number): Progress {
  const startMs = now();
  let drawnMs = Number.NEGATIVE_INFINITY;
  return {
    update(fraction) {
      const nowMs = now();
      if (nowMs - startMs < QUIET_MS || nowMs - drawnMs < REDRAW_MS) return;
      drawnMs = nowMs;
      const full = Math.floor(Math.min(1, fraction) * BAR_COLUMNS);
      const leftSeconds = fraction > 0 ? ((nowMs - startMs) / 1000) * (1 / fraction - 1) : undefined;
      const left = leftSeconds === undefined ? "" : `, ${Math.ceil(leftSeconds)} s left`;
      const bar = "#".repeat(full) + ".".repeat(BAR_COLUMNS - full);
      out.err(`\r[${bar}] ${Math.floor(fraction * 100)}%${left}\x1b[K`);
    },
    end() {
      if (Number.isFinite(drawnMs)) out.err("\r\x1b[K");
    },
  };
}
