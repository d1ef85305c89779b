import type { BlockFile } from "../block-file.ts";
import { ByreError } from "../errors.ts";

/**
 * How "await first, then change" is kept. An operation is a plain synchronous function that looks at what is
 * in memory. Where something is not, it notes here what to wait for and gives up without a change; its
 * driver waits for all of it and calls again. So an operation runs from its first look to its last change
 * within one turn of the event loop, and two operations never interleave.
 */
export type Need = () => Promise<void>;

/**
 * Runs a synchronous attempt until it succeeds.
 *
 * @param attempt does the whole operation and returns its result, or returns undefined after noting needs.
 * @throws what the attempt or a need throws.
 */
export async function untilReady<Result>(attempt: (needs: Need[]) => Result | undefined): Promise<Result> {
  for (;;) {
    const needs: Need[] = [];
    const result = attempt(needs);
    if (result !== undefined) return result;
    // Else this would spin for ever.
    if (needs.length === 0) throw new ByreError("INTERNAL", "An operation gave up with nothing to wait for.");
    await Promise.all(needs.map((need) => need()));
  }
}

/** Makes a write as soon as the file can take it: no turn lies between the look and the write. */
export async function whenWritable(
  file: BlockFile,
  offsetBytes: number,
  lengthBytes: number,
  write: () => void,
): Promise<void> {
  while (!file.canWriteNow(offsetBytes, lengthBytes)) await file.load(offsetBytes, lengthBytes);
  write();
}
