import { ExitCode, ExitError } from "./exit.ts";
import { fixedDecimals, parseSize } from "./sizes.ts";

/** A command's own failure, said in qemu-io's words on stdout; the commands after it still run. */
export class IoFailure extends Error {}

/** The command line of a command is wrong: its usage is printed. */
export class IoUsage extends Error {}

const UNITS = [" bytes", " KiB", " MiB", " GiB", " TiB", " PiB", " EiB"];

/** A size as qemu-io words it: "64 KiB", "1.500 MiB", "0.000000 bytes" never. */
export function ioSize(bytes: number): string {
  let power = 0;
  while (power < UNITS.length - 1 && bytes >= 1024 ** (power + 1)) power++;
  const unit = UNITS[power] ?? "";
  const text = power === 0 ? bytes.toFixed(6) : fixedDecimals(bytes / 1024 ** power, 3);
  const zeros = text.indexOf(".000");
  return (zeros < 0 ? text : text.slice(0, zeros)) + unit;
}

/** @throws IoFailure in qemu-io's words. */
export function ioNumber(text: string): number {
  const bytes = parseSize(text);
  if (bytes === "range") throw new IoFailure(`Parsing error: argument too large -- ${text}`);
  if (bytes === "invalid")
    throw new IoFailure(`Parsing error: non-numeric argument, or extraneous/unrecognized suffix -- ${text}`);
  return Number(bytes);
}

/** The byte that `-P` names: decimal, 0x hexadecimal or 0 octal. */
export function ioPattern(text: string): number {
  const value = /^0[0-7]+$/.test(text)
    ? Number.parseInt(text, 8)
    : /^(0x[\da-f]+|\d+)$/i.test(text)
      ? Number(text)
      : -1;
  if (value < 0 || value > 255) throw new IoFailure(`${text} is not a valid pattern byte`);
  return value;
}

export interface IoReport {
  readonly verb: "read" | "wrote" | "discard";
  readonly offsetBytes: number;
  readonly lengthBytes: number;
  readonly seconds: number;
  /** `-C`: for programs. */
  readonly terse: boolean;
}

/** What is printed when a request is done. */
export function ioReport({ verb, offsetBytes, lengthBytes, seconds, terse }: IoReport): string {
  if (terse) {
    const time = hoursText(seconds);
    return `${lengthBytes},1,${time},${(lengthBytes / seconds).toFixed(3)},${(1 / seconds).toFixed(3)}\n`;
  }
  const time = seconds >= 1 ? hoursText(seconds) : `${seconds.toFixed(2).padStart(5, "0")} sec`;
  return (
    `${verb} ${lengthBytes}/${lengthBytes} bytes at offset ${offsetBytes}\n` +
    `${ioSize(lengthBytes)}, 1 ops; ${time} (${ioSize(lengthBytes / seconds)}/sec and ` +
    `${(1 / seconds).toFixed(4)} ops/sec)\n`
  );
}

function hoursText(seconds: number): string {
  const hours = Math.floor(seconds / 3600);
  const minutes = String(Math.floor(seconds / 60) % 60).padStart(2, "0");
  return `${hours}:${minutes}:${(seconds % 60).toFixed(2).padStart(5, "0")}`;
}

/** Bytes as qemu-io dumps them, 16 a line. */
export function ioDump(bytes: Uint8Array, offsetBytes: number): string {
  const lines: string[] = [];
  for (let at = 0; at < bytes.length; at += 16) {
    const row = bytes.subarray(at, at + 16);
    const hex = Array.from(row, (byte) => `${byte.toString(16).padStart(2, "0")} `).join("");
    const text = Array.from(row, (byte) => {
      const character = String.fromCharCode(byte);
      return /[0-9A-Za-z]/.test(character) ? character : ".";
    }).join("");
    lines.push(`${(offsetBytes + at).toString(16).padStart(8, "0")}:  ${hex} ${text}\n`);
  }
  return lines.join("");
}

/** A command's words by C's getopt: flags first, bundled or not, `--` ends them. */
export interface IoArguments {
  readonly flags: ReadonlySet<string>;
  readonly values: ReadonlyMap<string, string>;
  readonly rest: readonly string[];
}

/**
 * @param letters flags that are allowed; a colon after one says that it takes a value.
 * @throws IoUsage for any other.
 */
export function parseIoArguments(words: readonly string[], letters: string): IoArguments {
  const flags = new Set<string>();
  const values = new Map<string, string>();
  const rest: string[] = [];
  for (let i = 0; i < words.length; i++) {
    const word = words[i] ?? "";
    if (word === "--") {
      rest.push(...words.slice(i + 1));
      break;
    }
    if (!word.startsWith("-") || word === "-") {
      rest.push(word);
      continue;
    }
    for (let at = 1; at < word.length; at++) {
      const letter = word[at] ?? "";
      const known = letters.indexOf(letter);
      if (known < 0 || letter === ":") throw new IoUsage();
      if (letters[known + 1] !== ":") {
        flags.add(letter);
        continue;
      }
      const value = at + 1 < word.length ? word.slice(at + 1) : words[++i];
      if (value === undefined) throw new IoUsage();
      values.set(letter, value);
      break;
    }
  }
  return { flags, values, rest };
}

/** The mode of `-d`. */
export function checkDiscardMode(mode: string): void {
  if (!["off", "ignore", "on", "unmap"].includes(mode))
    throw new ExitError(ExitCode.FAILED, `Invalid discard option: ${mode}`);
}
