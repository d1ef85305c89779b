import { realpathSync } from "node:fs";
import { Command } from "commander";
import type { BlockFile } from "../block-file.ts";
import { createQcow2 } from "../qcow2/create.ts";
import { collect, helpText } from "./common-options.ts";
import {
  type CreateFormat,
  type CreateValues,
  createFormat,
  createOptionsHelp,
  formattingLine,
  parseCreateOptions,
  textOf,
} from "./create-options.ts";
import { ExitCode, ExitError } from "./exit.ts";
import { fillZeros } from "./fill-zeros.ts";
import { type FileSpec, parseFileName } from "./image-spec.ts";
import { interruptible } from "./interrupt.ts";
import { inNewFile } from "./new-file.ts";
import { backingSpec, openFileSpec } from "./open-file.ts";
import type { Out } from "./out.ts";
import { preallocationOf, qcow2Options } from "./qcow2-options.ts";
import { readKnownHeader } from "./read-header.ts";
import { parseSecrets } from "./secrets.ts";
import { parseSize } from "./sizes.ts";

export interface CreateOptions {
  readonly format?: string;
  readonly backing?: string;
  readonly backingFormat?: string;
  readonly unsafe?: boolean;
  readonly quiet?: boolean;
  readonly options?: readonly string[];
  readonly object?: readonly string[];
}

export function createCommand(out: Out): Command {
  return new Command("create")
    .description("Makes a new image; one of the same name is overwritten.")
    .argument("[file]", "the new image")
    .argument(
      "[size]",
      "its virtual size: bytes, or with a suffix k, M, G, T, P; as its backing file's if left out",
    )
    .option("-f, --format <format>", "qcow2 or raw (as qemu-img, raw when left out)")
    .option("-b, --backing <file>", "the image behind it, whose bytes it shows until they are written")
    .option("-F, --backing-format <format>", "the format of the backing file")
    .option("-u, --unsafe", "do not look at the backing file, which may not be there")
    .option("-o, --options <list>", "NAME=VALUE,... ; -o help lists them", collect)
    .option("--object <definition>", "a password: secret,id=ID,data=TEXT or secret,id=ID,file=PATH", collect)
    .option("-q, --quiet", "say nothing but errors")
    .addHelpText(
      "after",
      helpText(
        [
          "byre create -f qcow2 disk.qcow2 10G",
          "byre create -f qcow2 -b base.qcow2 -F qcow2 overlay.qcow2",
          "byre create -f qcow2 -o cluster_size=128k,compression_type=zstd disk.qcow2 1T",
        ],
        { 0: "the image is there", 1: "it could not be made" },
      ),
    )
    .action(async (file: string | undefined, size: string | undefined, values: CreateOptions) => {
      await create(file, size, values, out);
    });
}

/** Makes an image. Everything that can be wrong with the options is found before a file is touched. */
export async function create(
  file: string | undefined,
  size: string | undefined,
  options: CreateOptions,
  out: Out,
): Promise<void> {
  const lists = options.options ?? [];
  const format = createFormat(options.format ?? "raw");
  const help = createOptionsHelp(format, lists);
  if (help !== undefined) return out.out(help);
  if (file === undefined)
    throw new ExitError(ExitCode.FAILED, "Expecting image file name. Try 'byre create --help'.");
  const values = parseCreateOptions(format, lists, file);
  putBacking(values, format, options, file);
  const target = parseFileName(file);
  if (target.kind !== "path") throw new ExitError(ExitCode.FAILED, `${file}: images are made in files only.`);
  const sizeBytes = await sizeOf(size, values, options, file, target.path);
  values.set("size", sizeBytes);
  const secrets = parseSecrets(options.object ?? []);
  if (!options.quiet) out.out(formattingLine(file, format, values));
  const wanted = format === "qcow2" ? qcow2Options(values, sizeBytes, secrets, file) : undefined;
  const fill = (made: BlockFile) =>
    wanted ? createQcow2(made, wanted) : fillRaw(made, values, sizeBytes, file);
  const leaves = () => `${file} is not finished: delete it, or make it again.`;
  await interruptible(out, { leaves }, () => inNewFile(target.path, fill));
}

function putBacking(values: CreateValues, format: CreateFormat, options: CreateOptions, file: string): void {
  const { backing, backingFormat } = options;
  if (format === "raw") {
    if (backing !== undefined)
      throw new ExitError(ExitCode.FAILED, `${file}: Backing file not supported for file format 'raw'`);
    if (backingFormat !== undefined)
      throw new ExitError(
        ExitCode.FAILED,
        `${file}: Backing file format not supported for file format 'raw'`,
      );
    return;
  }
  if (backing !== undefined) values.set("backing_file", backing);
  if (backingFormat !== undefined) values.set("backing_fmt", backingFormat);
  if (textOf(values, "backing_file") === "")
    throw new ExitError(ExitCode.FAILED, `${file}: Expected backing file name, got empty string`);
}

async function sizeOf(
  size: string | undefined,
  values: CreateValues,
  options: CreateOptions,
  file: string,
  path: string,
): Promise<bigint> {
  const asked = values.get("size") as bigint | undefined;
  const given = size === undefined ? undefined : sizeArgument(size);
  if (given !== undefined && asked !== undefined)
    throw new ExitError(ExitCode.FAILED, `${file}: The image size must be specified only once`);
  const known = given ?? asked;
  const backing = textOf(values, "backing_file");
  if (backing === undefined || options.unsafe) {
    if (backing !== undefined && textOf(values, "backing_fmt") === undefined) throw withoutFormat(file);
    if (known !== undefined) return known;
    throw new ExitError(ExitCode.FAILED, `${file}: Image creation needs a size parameter`);
  }
  const backingBytes = await backingSize(backing, values, file, path);
  return known ?? backingBytes;
}

/**
 * The `-s SIZE` of a command line.
 *
 * @throws ExitError as qemu-img words it.
 */
export function sizeArgument(text: string): bigint {
  const size = parseSize(text);
  if (typeof size === "bigint") return size;
  throw new ExitError(
    ExitCode.FAILED,
    size === "range"
      ? "Invalid image size specified. Must be between 0 and 9223372036854775807."
      : "Invalid image size specified. You may use k, M, G, T, P or E suffixes for\n" +
          "byre: kilobytes, megabytes, gigabytes, terabytes, petabytes and exabytes.",
  );
}

/** Opens the backing file, so that it is known to be there and to be an image of the format it is said to be. */
async function backingSize(name: string, values: CreateValues, file: string, path: string): Promise<bigint> {
  const format = textOf(values, "backing_fmt");
  const spec = backingSpec({ kind: "path", path }, name);
  if (spec.kind === "path" && isSameFile(spec.path, path))
    throw new ExitError(
      ExitCode.FAILED,
      `${file}: Error: Trying to create an image with the same filename as the backing file`,
    );
  try {
    if (format === undefined) {
      await (await openFileSpec(spec)).close();
      throw withoutFormat(file);
    }
    const sizeBytes = await backingBytes(spec, format);
    // QEMU counts whole sectors.
    return BigInt(Math.ceil(sizeBytes / 512) * 512);
  } catch (error) {
    if (error instanceof ExitError) throw error;
    const reason = error instanceof Error ? error.message : String(error);
    throw new ExitError(ExitCode.FAILED, `${file}: ${reason}\nCould not open backing image.`);
  }
}

/** An image's size without opening it: for that a password may be needed, and here only its size is. */
async function backingBytes(spec: FileSpec, format: string): Promise<number> {
  if (format !== "qcow2" && format !== "raw")
    throw new ExitError(ExitCode.FAILED, `Unknown driver '${format}'`);
  const file = await openFileSpec(spec);
  try {
    return format === "qcow2" ? (await readKnownHeader(file)).sizeBytes : file.sizeBytes;
  } finally {
    await file.close();
  }
}

function withoutFormat(file: string): ExitError {
  return new ExitError(
    ExitCode.FAILED,
    `${file}: Backing file specified without backing format. Say which it is: -F qcow2 or -F raw.`,
  );
}

function isSameFile(first: string, second: string): boolean {
  try {
    return realpathSync(first) === realpathSync(second);
  } catch {
    // One of them is not there.
    return first === second;
  }
}

async function fillRaw(
  file: BlockFile,
  values: CreateValues,
  sizeBytes: bigint,
  label: string,
): Promise<void> {
  const fail = (what: string): never => {
    throw new ExitError(ExitCode.FAILED, `${label}: ${what}`);
  };
  const preallocation = preallocationOf(values, fail);
  if (preallocation === "metadata") fail("Unsupported preallocation mode: metadata");
  const lengthBytes = Number(((sizeBytes + 511n) / 512n) * 512n);
  if (!Number.isSafeInteger(lengthBytes)) fail("Could not resize file: File too large");
  file.truncate(lengthBytes);
  await file.flush();
  if (preallocation !== "off") await fillZeros(file, 0, lengthBytes);
}
