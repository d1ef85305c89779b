import { ExitCode, ExitError } from "./exit.ts";
import { parseSize } from "./sizes.ts";

/**
 * A size given to an option, as qemu-img reads it.
 *
 * @param name how its message calls the size: "start offset".
 * @throws ExitError for what is no size, or is past what a disk can have.
 */
export function sizeArgument(name: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const bytes = parseSize(text);
  if (bytes === "invalid")
    throw new ExitError(
      ExitCode.FAILED,
      `Invalid ${name} specified. You may use k, M, G, T, P or E suffixes for\n` +
        "byre: kilobytes, megabytes, gigabytes, terabytes, petabytes and exabytes.",
    );
  if (bytes === "range")
    throw new ExitError(
      ExitCode.FAILED,
      `Invalid ${name} specified. Must be between 0 and ${2n ** 63n - 1n}.`,
    );
  return Number(bytes);
}
