import type { BlockFile } from "../block-file.ts";
import { openForCheck } from "./check-image.ts";
import { checkFailed } from "./check-tally.ts";
import { repairPass } from "./repair-pass.ts";

/**
 * Makes a dirty image consistent before it is written: with lazy refcounts, or after a crash, its refcounts
 * may be behind its tables. Errors and leaks are repaired and the dirty bit is cleared, as QEMU does when it
 * opens such an image for writing. Everything is durable when this resolves.
 *
 * Errors that cannot be repaired (an L2 entry that points nowhere) leave the bit set and are no failure: the
 * image can be used, and the next open for writing tries again.
 *
 * @param file writable; stays the caller's. Open a device over it, or read its header again, after this.
 * @param report told of each finding, in the words of `qemu-img check`.
 * @throws ByreError CHECK_FAILED when the image cannot be repaired and must not be written; what
 *   `checkQcow2` throws for a header that is not understood; what the file meets.
 */
export async function repairDirty(file: BlockFile, report?: (line: string) => void): Promise<void> {
  const image = await openForCheck(file);
  const tally = await repairPass(image, {
    mode: "all",
    report,
    onProgress: undefined,
    signal: undefined,
  });
  if (tally.checkErrors > 0)
    throw checkFailed(
      file.name,
      `${tally.checkErrors} parts of it could not be checked`,
      "Input/output error",
    );
}
