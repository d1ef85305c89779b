import { Command } from "commander";
import {
  addImageOptions,
  collect,
  helpText,
  type ImageOptionValues,
  imageOptionsOf,
  outputOption,
} from "./common-options.ts";
import { snapshotName } from "./convert-options.ts";
import { ConvertSource } from "./convert-source.ts";
import { createFormat, parseCreateOptions, textOf } from "./create-options.ts";
import { ExitCode, ExitError } from "./exit.ts";
import { sizeArgument } from "./map-sizes.ts";
import { measureQcow2 } from "./measure-qcow2.ts";
import type { Out } from "./out.ts";
import { qcow2Options } from "./qcow2-options.ts";
import { qemuJson } from "./qemu-json.ts";

export interface MeasureValues extends ImageOptionValues {
  readonly output: "human" | "json";
  readonly outputFormat?: string;
  readonly options?: readonly string[];
  readonly snapshot?: string;
  readonly size?: string;
}

/** Bytes that a new file would need. */
interface Measured {
  readonly required: bigint;
  readonly "fully-allocated": bigint;
  readonly bitmaps?: bigint | undefined;
}

export function createCommand(out: Out): Command {
  const command = new Command("measure")
    .description("Says how large the file of a new image would be: empty, or converted from another.")
    .argument("[files...]", "the image to be converted")
    .addOption(outputOption())
    .option("-O, --output-format <format>", "the new image's format: qcow2 or raw (the default)")
    .option("-o, --options <list>", "NAME=VALUE,... of the new image", collect)
    .option("-l, --snapshot <snapshot>", "of this internal snapshot: its id or name")
    .option("--size <size>", "without an image: the new one's virtual size");
  return addImageOptions(command)
    .addHelpText(
      "after",
      helpText(["byre measure -O qcow2 disk.raw", "byre measure --size 10G -O qcow2 -o cluster_size=1M"], {
        0: "it was said",
        1: "the image cannot be read, or an option is wrong",
      }),
    )
    .action(async (files: string[], values: MeasureValues) => {
      await measure(files, values, out);
    });
}

/** Prints the size that a conversion's target would have. */
export async function measure(files: readonly string[], values: MeasureValues, out: Out): Promise<void> {
  const snapshot = values.snapshot === undefined ? undefined : snapshotName(values.snapshot);
  const asked = sizeArgument("image size", values.size);
  if (files.length > 1) throw fail("At most one filename argument is allowed.");
  const [file] = files;
  if (file === undefined && (values.imageOpts || values.format !== undefined || snapshot !== undefined))
    throw fail("--image-opts, -f, and -l require a filename argument.");
  if (file !== undefined && asked !== undefined)
    throw fail("--size N cannot be used together with a filename.");
  if (file === undefined && asked === undefined)
    throw fail("Either --size N or one filename must be specified.");
  const format = createFormat(values.outputFormat ?? "raw");
  const createValues = parseCreateOptions(format, values.options ?? [], "measure");
  if (asked !== undefined) createValues.set("size", BigInt(asked));
  const source =
    file === undefined
      ? undefined
      : await ConvertSource.open([file], {
          ...imageOptionsOf(values),
          ...(snapshot !== undefined && { snapshot }),
        });
  try {
    const sizeBytes = source
      ? BigInt(source.sizeBytes)
      : ((createValues.get("size") as bigint | undefined) ?? 0n);
    let measured: Measured;
    if (format === "raw") measured = { required: roundUp(sizeBytes), "fully-allocated": roundUp(sizeBytes) };
    else {
      // Without its passwords, which change no size.
      for (const name of ["encrypt.format", "encrypt.key-secret", "encryption"]) createValues.delete(name);
      const backing = textOf(createValues, "backing_file");
      if (backing !== undefined && !createValues.has("backing_fmt")) createValues.set("backing_fmt", "raw");
      measured = await measureQcow2(
        qcow2Options(createValues, sizeBytes, new Map(), "measure"),
        sizeBytes,
        source,
      );
    }
    out.out(values.output === "json" ? `${qemuJson(inOrder(measured))}\n` : humanText(measured));
  } finally {
    await source?.close();
  }
}

function humanText(measured: Measured): string {
  const bitmaps = measured.bitmaps === undefined ? "" : `bitmaps size: ${measured.bitmaps}\n`;
  return `required size: ${measured.required}\nfully allocated size: ${measured["fully-allocated"]}\n${bitmaps}`;
}

/** QEMU prints keys in the order of its own hash; these stand for it. */
function inOrder({ bitmaps, required, ...rest }: Measured): object {
  return { bitmaps, required, ...rest };
}

function roundUp(bytes: bigint): bigint {
  return ((bytes + 511n) / 512n) * 512n;
}

function fail(message: string): ExitError {
  return new ExitError(ExitCode.FAILED, message);
}
