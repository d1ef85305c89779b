import { Command } from "commander";
import type { Qcow2Device } from "../qcow2/qcow2-device.ts";
import { addImageOptions, helpText, type ImageOptionValues, imageOptionsOf } from "./common-options.ts";
import { ExitCode, ExitError } from "./exit.ts";
import { fillZeros } from "./fill-zeros.ts";
import { interruptible } from "./interrupt.ts";
import { type OpenedImage, type OpenImageOptions, openImage } from "./open-image.ts";
import { type Out, warningsTo } from "./out.ts";
import type { Preallocation } from "./qcow2-options.ts";
import { parseSize } from "./sizes.ts";

const PREALLOCATIONS: readonly Preallocation[] = ["off", "metadata", "falloc", "full"];

export interface ResizeCommandOptions extends OpenImageOptions {
  readonly shrink?: boolean | undefined;
  readonly preallocation?: string | undefined;
  readonly quiet?: boolean | undefined;
}

export function createCommand(out: Out): Command {
  const command = new Command("resize")
    .description("Changes how large a disk is. A guest's partitions and file systems are not touched.")
    .argument("<file>", "the image")
    .argument("<size>", "the new size; with + or - before it, how much larger or smaller")
    .option("--shrink", "let the disk become smaller: what lies past its new end is lost")
    .option("--preallocation <mode>", "off, metadata, falloc or full: room for what is added")
    .option("-q, --quiet", "say nothing but errors");
  return addImageOptions(command)
    .addHelpText(
      "after",
      helpText(["byre resize disk.qcow2 +10G", "byre resize --shrink disk.qcow2 5G"], {
        0: "the disk has the new size",
        1: "it has its old one",
      }),
    )
    .action(async (file: string, size: string, values: ImageOptionValues & ResizeCommandOptions) => {
      await resize(file, size, { ...values, ...imageOptionsOf(values) }, out);
    });
}

/** The last word is the size, also where it looks like an option: `resize disk.qcow2 -1G`. */
export function prepareArguments(words: readonly string[]): readonly string[] {
  const last = words.at(-1);
  if (last === undefined || !/^-[\d.]/.test(last) || words.includes("--")) return words;
  return [...words.slice(0, -1), "--", last];
}

export async function resize(
  spec: string,
  size: string,
  options: ResizeCommandOptions,
  out: Out,
): Promise<void> {
  const preallocation = PREALLOCATIONS.find((mode) => mode === (options.preallocation ?? "off"));
  if (preallocation === undefined)
    throw new ExitError(ExitCode.FAILED, `Invalid preallocation mode '${options.preallocation}'`);
  const asked = askedSize(size);
  const image = await openImage(spec, {
    ...options,
    writable: true,
    onWarning: warningsTo(out),
  });
  const { device } = image;
  const leaves = () =>
    `${spec} has its old size or its new one; leaked clusters are mended by byre check -r leaks.`;
  try {
    const newBytes = newSize(asked, device.sizeBytes);
    if (newBytes <= 0n) throw new ExitError(ExitCode.FAILED, "New image size must be positive");
    if (newBytes <= BigInt(device.sizeBytes) && preallocation !== "off")
      throw new ExitError(ExitCode.FAILED, "Preallocation can only be used for growing images");
    if (newBytes < BigInt(device.sizeBytes) && !options.shrink) throw shrinkRefused();
    if (newBytes > BigInt(Number.MAX_SAFE_INTEGER))
      throw new ExitError(
        ExitCode.FAILED,
        "The new size is too large: 8 PiB less one byte is the most here.",
      );
    await interruptible(out, { leaves }, () => change(image, spec, Number(newBytes), preallocation));
  } finally {
    await device.close();
  }
  if (!options.quiet) out.out("Image resized.\n");
}

interface AskedSize {
  readonly bytes: bigint;
  /** -1, +1 relative to what it is; 0 absolute. */
  readonly sign: -1n | 0n | 1n;
}

function askedSize(text: string): AskedSize {
  const sign = text.startsWith("+") ? 1n : text.startsWith("-") ? -1n : 0n;
  const bytes = parseSize(sign === 0n ? text : text.slice(1));
  if (typeof bytes === "bigint") return { bytes, sign };
  if (bytes === "range")
    throw new ExitError(ExitCode.FAILED, "New image size must be positive and below 2^63 bytes.");
  throw new ExitError(
    ExitCode.FAILED,
    `Parameter 'size' expects a size, and '${text}' is none: a number of bytes, or one with a suffix k, M, G, T, P or E.`,
  );
}

function newSize({ bytes, sign }: AskedSize, oldBytes: number): bigint {
  return sign === 0n ? bytes : BigInt(oldBytes) + sign * bytes;
}

function shrinkRefused(): ExitError {
  return new ExitError(
    ExitCode.FAILED,
    "Use the --shrink option to perform a shrink operation.\n" +
      "byre: warning: Shrinking an image will delete all data beyond the shrunken image's end. Before performing " +
      "such an operation, make sure there is no important data there.",
  );
}

async function change(
  image: OpenedImage,
  spec: string,
  newBytes: number,
  preallocation: Preallocation,
): Promise<void> {
  const { device, file, format } = image;
  if (format === "qcow2") {
    await (device as Qcow2Device).resize(newBytes, { shrink: true, preallocation });
    return;
  }
  if (preallocation === "metadata")
    throw new ExitError(ExitCode.FAILED, `${spec}: Unsupported preallocation mode: metadata`);
  const oldBytes = file.sizeBytes;
  file.truncate(newBytes);
  await file.flush();
  if (preallocation !== "off") await fillZeros(file, oldBytes, newBytes);
}
