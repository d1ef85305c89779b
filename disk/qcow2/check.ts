import type { BlockFile } from "../block-file.ts";
import { ByreError } from "../errors.ts";
import { openForCheck } from "./check-image.ts";
import { checkPass } from "./check-pass.ts";
import type { CheckContext } from "./check-tally.ts";
import { repairPass } from "./repair-pass.ts";

/** What a check found, with the meaning of `qemu-img check --output=json`'s fields. */
export interface CheckResult {
  /** Errors that are left; data may be wrong, or become so with further writes. */
  readonly corruptions: number;
  /** Clusters that are counted and not used: a waste of space and no more. */
  readonly leaks: number;
  readonly corruptionsFixed: number;
  readonly leaksFixed: number;
  /** What could not be looked at. With any, the check is not complete (exit code 1). */
  readonly checkErrors: number;
  /** Where the last used cluster ends, in bytes of the file. */
  readonly imageEndOffset: number;
  /** Guest clusters in all, those with a host cluster, of these those that do not follow on, and compressed ones. */
  readonly totalClusters: number;
  readonly allocatedClusters: number;
  readonly fragmentedClusters: number;
  readonly compressedClusters: number;
}

export interface CheckOptions {
  /** "leaks" frees what is not used; "all" also mends errors. Default: nothing is changed. */
  repair?: "leaks" | "all";
  /** Told of each finding, one line each, in the words that `qemu-img check` prints to stderr. */
  report?(line: string): void;
  /** Told how far the check is, 0 to 1. */
  onProgress?(fraction: number): void;
  /** Stops the check; between writes, so that what is on disk is no worse than before. */
  signal?: AbortSignal;
  /** Told what a repair did, before the repaired image is checked again. */
  onRepaired?(fixed: { corruptionsFixed: number; leaksFixed: number }): void;
}

/**
 * Checks a qcow2 image, and repairs it when asked to. Also for images that are dirty, marked corrupt, cut
 * short or damaged; only what the header's features or fields make impossible to understand is refused, and
 * nothing is written then.
 *
 * After a repair the image is checked once more, and the result is of that second check with what was fixed
 * by the first, as `qemu-img check -r` has it.
 *
 * Memory: two bytes for each cluster of the file, and at most 16 MiB for tables.
 *
 * @param file stays the caller's; writable for a repair. A backing file is not asked for, nor a password.
 * @throws ByreError CHECK_FAILED (`data.reason` is what qemu-img prints after "Check failed:"); NOT_QCOW2,
 *   CORRUPT, TOO_LARGE, UNSUPPORTED_VERSION, UNSUPPORTED_FEATURE, EXTERNAL_DATA_FILE for the header;
 *   READ_ONLY, CANCELLED; what the file meets.
 */
export async function checkQcow2(file: BlockFile, options: CheckOptions = {}): Promise<CheckResult> {
  const { repair, onProgress } = options;
  if (repair !== undefined && !file.writable)
    throw new ByreError("READ_ONLY", `${file.name} was opened read-only: it cannot be repaired.`, {
      file: file.name,
    });
  const context = (mode: CheckContext["mode"], from: number, to: number): CheckContext => ({
    mode,
    report: options.report && ((line) => options.report?.(line)),
    onProgress: onProgress && ((fraction) => onProgress(from + (to - from) * fraction)),
    signal: options.signal,
  });
  const image = await openForCheck(file);
  if (repair === undefined) return checkPass(image, context("none", 0, 1));
  const { corruptionsFixed, leaksFixed, ...left } = await repairPass(image, context(repair, 0, 0.5));
  if (corruptionsFixed + leaksFixed === 0) return { ...left, corruptionsFixed, leaksFixed };
  options.onRepaired?.({ corruptionsFixed, leaksFixed });
  const again = await checkPass(await openForCheck(file), context("none", 0.5, 1));
  return { ...again, corruptionsFixed, leaksFixed };
}
