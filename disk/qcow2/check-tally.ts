import { ByreError } from "../errors.ts";

/** What a check has counted so far; the fields of `CheckResult`. */
export interface Tally {
  corruptions: number;
  leaks: number;
  corruptionsFixed: number;
  leaksFixed: number;
  checkErrors: number;
  imageEndOffset: number;
  totalClusters: number;
  allocatedClusters: number;
  fragmentedClusters: number;
  compressedClusters: number;
}

export function createTally(): Tally {
  return {
    corruptions: 0,
    leaks: 0,
    corruptionsFixed: 0,
    leaksFixed: 0,
    checkErrors: 0,
    imageEndOffset: 0,
    totalClusters: 0,
    allocatedClusters: 0,
    fragmentedClusters: 0,
    compressedClusters: 0,
  };
}

/** Adds one tally to another. */
export function addTally(into: Tally, from: Tally): void {
  for (const key of Object.keys(into) as (keyof Tally)[]) into[key] += from[key];
}

/** What one pass over an image may change. */
export type RepairMode = "none" | "leaks" | "all";

/** What all parts of one pass share. */
export interface CheckContext {
  readonly mode: RepairMode;
  /** Told of each finding, in QEMU's words; undefined when nobody listens, and then no line is made. */
  readonly report: ((line: string) => void) | undefined;
  readonly onProgress: ((fraction: number) => void) | undefined;
  readonly signal: AbortSignal | undefined;
}

/**
 * The error of a check that cannot go on.
 *
 * @param reason what the C library calls it, as QEMU prints after "Check failed:".
 */
export function checkFailed(fileName: string, what: string, reason: string): ByreError {
  return new ByreError("CHECK_FAILED", `${fileName}: the check failed: ${what} (${reason}).`, {
    file: fileName,
    reason,
  });
}

/** Milliseconds of work between two breaths, in which a signal to stop arrives. */
const BREATH_MILLISECONDS = 50;

/** Lets other work of the process run now and then, and stops when the check was called off. */
export function createBreather(fileName: string, context: CheckContext): () => Promise<void> | undefined {
  let last = Date.now();
  const check = () => {
    if (context.signal?.aborted)
      throw new ByreError("CANCELLED", `The check of ${fileName} was stopped.`, { file: fileName });
  };
  return () => {
    check();
    if (Date.now() - last < BREATH_MILLISECONDS) return undefined;
    return new Promise<void>((resolve) => setTimeout(resolve, 0)).then(() => {
      last = Date.now();
      check();
    });
  };
}

/** A 64-bit value from its halves as C's %x prints it. */
export function hex64(hi: number, lo: number): string {
  return hi === 0
    ? (lo >>> 0).toString(16)
    : (hi >>> 0).toString(16) + (lo >>> 0).toString(16).padStart(8, "0");
}
