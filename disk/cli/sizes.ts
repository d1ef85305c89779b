/** Powers of 1024, as QEMU's size suffixes count them. */
const SUFFIXES = "BKMGTPE";

/** QEMU keeps sizes in signed 64 bits. */
const MAX_QEMU_BYTES = 2n ** 63n - 1n;

export type SizeProblem = "invalid" | "range";

/**
 * Reads a size as QEMU does: a whole number of bytes, decimal or 0x hexadecimal; or a decimal number, with a
 * fraction too, and a suffix b, k, M, G, T, P or E in either case.
 *
 * @returns bytes; "invalid" for what is no size, "range" for 2^63 and more.
 */
export function parseSize(text: string): bigint | SizeProblem {
  const hex = /^\s*\+?0x([0-9a-f]+)$/i.exec(text);
  if (hex) return bounded(BigInt(`0x${hex[1]}`));
  const match = /^\s*\+?(\d+)(?:\.(\d*))?([bkmgtpe]?)$/i.exec(text);
  if (!match) return "invalid";
  const [, whole = "0", fraction = "", suffix = ""] = match;
  const unit = 1024n ** BigInt(Math.max(0, SUFFIXES.indexOf(suffix.toUpperCase() || "B")));
  // A part of a byte is nothing one can ask for.
  if (unit === 1n && /[1-9]/.test(fraction)) return "invalid";
  const part = fraction === "" ? 0n : BigInt(Math.round(Number(`0.${fraction}`) * Number(unit)));
  return bounded(BigInt(whole) * unit + part);
}

function bounded(bytes: bigint): bigint | "range" {
  return bytes > MAX_QEMU_BYTES ? "range" : bytes;
}

/** A size as QEMU's `info` words it: three digits and a binary unit, "1.5 GiB". */
export function humanSize(bytes: number): string {
  const units = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
  // The next unit from 1000 on, not from 1024 on: three digits hold no more.
  let power = 0;
  while (power < units.length - 1 && (bytes * 1024) / 1000 >= 1024 ** (power + 1)) power++;
  return `${threeDigits(bytes / 1024 ** power)} ${units[power]}B`;
}

/** C's `%0.3g`, which rounds what is just between two to the even one. */
function threeDigits(value: number): string {
  const scale = value >= 100 ? 1 : value >= 10 ? 10 : 100;
  const scaled = value * scale;
  const isHalf = scaled % 1 === 0.5;
  const text = (isHalf ? (2 * Math.round(scaled / 2)) / scale : value).toPrecision(3);
  if (!text.includes("e")) return String(Number(text));
  const [mantissa, exponent = "+0"] = text.split("e");
  return `${Number(mantissa)}e${exponent.replace(/^([+-])(\d)$/, "$10$2")}`;
}

/** C's `%.2f` and the like: what lies exactly between two is rounded to the even one, which `toFixed` does not do. */
export function fixedDecimals(value: number, decimals: number): string {
  // Only binary fractions of just so many digits lie between two.
  const isBetween = (value * 2 ** (decimals + 1)) % 2 === 1;
  const below = Math.floor(value * 10 ** decimals);
  return (isBetween && below % 2 === 0 ? below / 10 ** decimals : value).toFixed(decimals);
}
