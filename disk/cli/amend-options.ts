import type { AmendOptions } from "../qcow2/amend.ts";
import { CompatibleFeature } from "../qcow2/format.ts";
import { hasFeature, type Qcow2Header } from "../qcow2/header.ts";
import { ExitCode, ExitError } from "./exit.ts";
import { asksForHelp, parseOptionString, parseSwitch } from "./option-string.ts";
import { parseSize } from "./sizes.ts";

const AMENDABLE: Readonly<Record<string, string>> = {
  backing_file: "<str>     - File name of a base image: only the one it has; see byre rebase",
  backing_fmt: "<str>      - Image format of the base image: only the one it has; see byre rebase",
  compat: "<str>           - Compatibility level (v2 [0.10] or v3 [1.1])",
  lazy_refcounts: "<bool (on/off)> - Postpone refcount updates",
  refcount_bits: "<num>    - Width of a reference count entry in bits",
  size: "<size>            - Virtual disk size",
};

const CREATION_ONLY =
  /^(cluster_size|compression_type|encrypt\..*|encryption|extended_l2|preallocation|data_file|data_file_raw)$/;

/** What `-o help` prints, or undefined when it was not asked for. */
export function amendOptionsHelp(lists: readonly string[]): string | undefined {
  if (!lists.some(asksForHelp)) return undefined;
  const lines = Object.entries(AMENDABLE).map(([name, help]) => `  ${name}=${help}\n`);
  return `Amend options for 'qcow2':\n${lines.join("")}`;
}

/**
 * Reads `-o` for an image that is there.
 *
 * @throws ExitError for what cannot be changed, or not to that.
 */
export function parseAmendOptions(lists: readonly string[], header: Qcow2Header): AmendOptions {
  const options: AmendOptions = {};
  for (const [name, value] of lists.flatMap(parseOptionString)) {
    if (CREATION_ONLY.test(name))
      throw failed(`Invalid parameter '${name}'\nThis option is only supported for image creation`);
    if (!Object.hasOwn(AMENDABLE, name)) throw failed(`Invalid parameter '${name}'`);
    const current = { backing_file: header.backingName ?? "", backing_fmt: header.backingFormat ?? "" };
    if ((name === "backing_file" || name === "backing_fmt") && (value !== current[name] || value === ""))
      throw failed("Cannot amend the backing file\nYou can use 'byre rebase' instead.");
    if (name === "compat") options.version = versionOf(value);
    if (name === "lazy_refcounts") options.lazyRefcounts = parseSwitch(name, value);
    if (name === "refcount_bits") options.refcountBits = refcountBitsOf(value);
    if (name === "size") options.sizeBytes = sizeOf(value);
  }
  return consistent(options, header);
}

function consistent(options: AmendOptions, header: Qcow2Header): AmendOptions {
  const version = options.version ?? header.version;
  if (version === 3) return options;
  const isLazy = hasFeature(header.compatibleFeatures, CompatibleFeature.LAZY_REFCOUNTS);
  if (options.lazyRefcounts)
    throw failed(
      "Lazy refcounts only supported with compatibility level 1.1 and above (use compat=1.1 or greater)",
    );
  const bits = options.refcountBits ?? 2 ** header.refcountOrder;
  if (bits !== 16)
    throw failed(
      "Refcount widths other than 16 bits require compatibility level 1.1 or above (use compat=1.1 or greater)",
    );
  // Version 2 knows no lazy refcounts: an image that had them has them no more.
  return isLazy ? { ...options, lazyRefcounts: false } : options;
}

function versionOf(text: string): 2 | 3 {
  if (text === "0.10" || text === "v2") return 2;
  if (text === "1.1" || text === "v3") return 3;
  throw failed(`Unknown compatibility level ${text}`);
}

function refcountBitsOf(text: string): number {
  if (!/^\d+$/.test(text)) throw failed("Parameter 'refcount_bits' expects a number");
  const bits = Number(text);
  if (bits >= 1 && bits <= 64 && Number.isInteger(Math.log2(bits))) return bits;
  throw failed("Refcount width must be a power of two and may not exceed 64 bits");
}

function sizeOf(text: string): number {
  const size = parseSize(text);
  if (typeof size !== "bigint") throw failed("Parameter 'size' expects a size below 2^63");
  if (size > BigInt(Number.MAX_SAFE_INTEGER))
    throw failed("The new size is too large: 8 PiB less one byte is the most here.");
  return Number(size);
}

function failed(message: string): ExitError {
  return new ExitError(ExitCode.FAILED, message);
}
