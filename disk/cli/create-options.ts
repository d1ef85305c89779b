import { ExitCode, ExitError } from "./exit.ts";
import { asksForHelp, parseOptionString, parseSwitch } from "./option-string.ts";
import { parseSize } from "./sizes.ts";

type OptionType = "str" | "size" | "num" | "bool";

interface CreateOption {
  readonly type: OptionType;
  readonly help: string;
  readonly preset?: string;
}

/** In the order in which QEMU prints what an image is made with. */
const QCOW2_OPTIONS: Readonly<Record<string, CreateOption>> = {
  encryption: {
    type: "bool",
    help: "Encrypt the image with format 'aes'. (Deprecated in favor of encrypt.format=aes)",
  },
  "encrypt.format": { type: "str", help: "Encrypt the image: 'aes', as old images are" },
  "encrypt.key-secret": { type: "str", help: "ID of the secret that holds the password" },
  cluster_size: { type: "size", help: "Bytes of a cluster: a power of two, 512 to 2M", preset: "65536" },
  extended_l2: { type: "bool", help: "Extended L2 tables: clusters of 32 parts", preset: "off" },
  preallocation: { type: "str", help: "Preallocation mode (allowed values: off, metadata, falloc, full)" },
  compression_type: { type: "str", help: "How clusters are compressed: zlib or zstd", preset: "zlib" },
  size: { type: "size", help: "Virtual disk size" },
  compat: { type: "str", help: "Compatibility level (v2 [0.10] or v3 [1.1])" },
  backing_file: { type: "str", help: "File name of a base image" },
  backing_fmt: { type: "str", help: "Image format of the base image" },
  data_file: { type: "str", help: "External data files are not made by byre" },
  data_file_raw: { type: "bool", help: "External data files are not made by byre" },
  lazy_refcounts: { type: "bool", help: "Postpone refcount updates", preset: "off" },
  refcount_bits: { type: "num", help: "Width of a reference count entry in bits", preset: "16" },
};

const RAW_OPTIONS: Readonly<Record<string, CreateOption>> = {
  size: { type: "size", help: "Virtual disk size" },
  preallocation: { type: "str", help: "Preallocation mode (allowed values: off, falloc, full)" },
  nocow: { type: "bool", help: "Taken as qemu-img's, and without effect" },
  extent_size_hint: { type: "size", help: "Taken as qemu-img's, and without effect" },
};

export type CreateFormat = "qcow2" | "raw";

/** What `-o` says, by name: sizes and numbers as bigint. Presets are in it. */
export type CreateValues = Map<string, string | bigint | boolean>;

/** A format that images are made in. @throws ExitError for any other. */
export function createFormat(name: string): CreateFormat {
  if (name === "qcow2" || name === "raw") return name;
  throw new ExitError(ExitCode.FAILED, `Unknown file format '${name}'; byre makes qcow2 and raw.`);
}

/**
 * Reads the values of `-o`.
 *
 * @param label begins messages: the image's name.
 * @throws ExitError for an unknown name, or a value that its option cannot have.
 */
export function parseCreateOptions(
  format: CreateFormat,
  lists: readonly string[],
  label: string,
): CreateValues {
  const known = optionsOf(format);
  const values: CreateValues = new Map();
  for (const [name, { type, preset }] of Object.entries(known))
    if (preset !== undefined) values.set(name, optionValue(name, type, preset, label));
  for (const list of lists) {
    if (list === "" || /^,(?!,)|(?:^|[^,])(?:,,)*,$/.test(list))
      throw new ExitError(ExitCode.FAILED, `Invalid option list: ${list}`);
    for (const [name, value] of parseOptionString(list)) {
      const option = Object.hasOwn(known, name) ? known[name] : undefined;
      if (!option) throw new ExitError(ExitCode.FAILED, `${label}: Invalid parameter '${name}'`);
      values.set(name, optionValue(name, option.type, value, label));
    }
  }
  return values;
}

/** What `-o help` prints, or undefined when it was not asked for. */
export function createOptionsHelp(format: CreateFormat, lists: readonly string[]): string | undefined {
  if (!lists.some(asksForHelp)) return undefined;
  const names: Record<OptionType, string> = { str: "str", size: "size", num: "num", bool: "bool (on/off)" };
  const lines = Object.entries(optionsOf(format))
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, { type, help }]) => `  ${`${name}=<${names[type]}>`.padEnd(22)} - ${help}`);
  return `Supported ${format} options:\n${lines.join("\n")}\n`;
}

/** The line that QEMU prints before it makes an image. */
export function formattingLine(filename: string, format: CreateFormat, values: CreateValues): string {
  let line = `Formatting '${filename}', fmt=${format}`;
  for (const name of Object.keys(optionsOf(format))) {
    const value = values.get(name);
    if (value === undefined) continue;
    const text = typeof value === "boolean" ? (value ? "on" : "off") : String(value);
    line += ` ${name}=${text.replaceAll(",", ",,")}`;
  }
  return `${line}\n`;
}

/** A value that is text; undefined when it was not given. */
export function textOf(values: CreateValues, name: string): string | undefined {
  const value = values.get(name);
  return typeof value === "string" ? value : undefined;
}

function optionsOf(format: CreateFormat): Readonly<Record<string, CreateOption>> {
  return format === "qcow2" ? QCOW2_OPTIONS : RAW_OPTIONS;
}

function optionValue(name: string, type: OptionType, text: string, label: string): string | bigint | boolean {
  if (type === "str") return text;
  if (type === "bool") return parseSwitch(name, text, label);
  const size = parseSize(text);
  if (type === "num") {
    if (/^\d+$/.test(text)) return BigInt(text);
    throw new ExitError(ExitCode.FAILED, `${label}: Parameter '${name}' expects a number`);
  }
  if (typeof size === "bigint") return size;
  throw new ExitError(
    ExitCode.FAILED,
    `${label}: Parameter '${name}' expects a size below 2^63: a number of bytes, or one with a suffix k, M, G, T, P or E.`,
  );
}
