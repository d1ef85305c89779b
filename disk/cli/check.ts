import { Command } from "commander";
import { ByreError } from "../errors.ts";
import { type CheckOptions, type CheckResult, checkQcow2 } from "../qcow2/check.ts";
import {
  addImageOptions,
  helpText,
  type ImageOptionValues,
  imageOptionsOf,
  outputOption,
} from "./common-options.ts";
import { ExitCode, ExitError } from "./exit.ts";
import { parseImageSpec, requestedFormat } from "./image-spec.ts";
import { interruptible } from "./interrupt.ts";
import { openFileSpec } from "./open-file.ts";
import type { OpenImageOptions } from "./open-image.ts";
import type { Out } from "./out.ts";
import { probeFormat } from "./probe-format.ts";
import { startProgress } from "./progress.ts";
import { qemuJson } from "./qemu-json.ts";
import { fixedDecimals } from "./sizes.ts";

/** As qemu-img's, so that scripts that look at them go on working. */
const CheckExit = { INCOMPLETE: 1, CORRUPTIONS: 2, LEAKS: 3, NOT_SUPPORTED: 63 } as const;

export interface CheckCommandOptions extends OpenImageOptions {
  readonly output: "human" | "json";
  readonly repair?: string | undefined;
  readonly quiet?: boolean | undefined;
}

export function createCommand(out: Out): Command {
  const command = new Command("check")
    .description("Looks for damage in an image, and mends it when asked to.")
    .argument("<file>", "the image")
    .addOption(outputOption())
    .option(
      "-r, --repair <what>",
      "'leaks' frees what is not used and changes nothing else; 'all' mends errors too",
    )
    .option("-q, --quiet", "say nothing but errors")
    .option("-T, --source-cache <mode>", "taken as qemu-img's, and without effect");
  return addImageOptions(command)
    .addHelpText(
      "after",
      helpText(
        ["byre check disk.qcow2", "byre check -r leaks disk.qcow2", "byre check --output=json disk.qcow2"],
        {
          0: "the image is clean, or now is",
          [CheckExit.INCOMPLETE]: "it could not be opened, or not be checked to the end",
          [CheckExit.CORRUPTIONS]: "it has errors: data may be wrong",
          [CheckExit.LEAKS]: "it has leaked clusters and no errors: space is wasted, no data wrong",
          [CheckExit.NOT_SUPPORTED]: "its format has nothing to check",
        },
      ),
    )
    .action(async (file: string, values: ImageOptionValues & CheckCommandOptions) => {
      await check(file, { ...values, ...imageOptionsOf(values) }, out);
    });
}

/**
 * Checks an image. What is behind it is not opened: its tables alone say whether they are whole.
 *
 * @throws ExitError with qemu-img's exit codes.
 */
export async function check(spec: string, options: CheckCommandOptions, out: Out): Promise<void> {
  const { repair } = options;
  if (repair !== undefined && repair !== "leaks" && repair !== "all")
    throw new ExitError(
      ExitCode.FAILED,
      `Unknown option value for -r (expecting 'leaks' or 'all'): ${repair}`,
    );
  const image = parseImageSpec(spec, options);
  const requested = requestedFormat(spec, image, options);
  const file = await openFileSpec(image.file, { writable: repair !== undefined });
  const progress = startProgress(out, { quiet: options.quiet });
  try {
    if ((requested ?? (await probeFormat(file))) !== "qcow2")
      throw new ExitError(CheckExit.NOT_SUPPORTED, "This image format does not support checks");
    const say = (text: string) => {
      if (!options.quiet) out.out(text);
    };
    const leaves = () =>
      repair
        ? `${spec} is no worse than before, and perhaps mended in part: check it again.`
        : `${spec} was only read.`;
    const result = await interruptible(out, { leaves, cooperative: true }, (signal) =>
      checkQcow2(file, {
        ...(repair !== undefined && { repair }),
        report: (line) => out.err(`${line}\n`),
        onProgress: (fraction) => progress.update(fraction),
        signal,
        onRepaired: (fixed) => {
          if (options.output === "human") say(repairedText(fixed));
        },
      } satisfies CheckOptions),
    );
    progress.end();
    if (options.output === "json") say(`${qemuJson(checkJson(result, image.filename))}\n`);
    else say(checkText(result));
    end(result);
  } catch (error) {
    progress.end();
    if (error instanceof ByreError && error.code === "CHECK_FAILED")
      throw new ExitError(CheckExit.INCOMPLETE, `Check failed: ${error.data.reason ?? error.message}`);
    throw error;
  } finally {
    await file.close();
  }
}

function end(result: CheckResult): void {
  if (result.checkErrors > 0) throw new ExitError(CheckExit.INCOMPLETE, "Check failed");
  if (result.corruptions > 0) throw new ExitError(CheckExit.CORRUPTIONS);
  if (result.leaks > 0) throw new ExitError(CheckExit.LEAKS);
}

function repairedText(fixed: { corruptionsFixed: number; leaksFixed: number }): string {
  return (
    "The following inconsistencies were found and repaired:\n\n" +
    `    ${fixed.leaksFixed} leaked clusters\n    ${fixed.corruptionsFixed} corruptions\n\n` +
    "Double checking the fixed image now...\n"
  );
}

function checkText(result: CheckResult): string {
  const { corruptions, leaks, checkErrors, allocatedClusters, totalClusters, imageEndOffset } = result;
  let text = "";
  if (corruptions + leaks + checkErrors === 0) text += "No errors were found on the image.\n";
  if (corruptions > 0)
    text +=
      `\n${corruptions} errors were found on the image.\n` +
      "Data may be corrupted, or further writes to the image may corrupt it.\n";
  if (leaks > 0)
    text +=
      `\n${leaks} leaked clusters were found on the image.\n` +
      "This means waste of disk space, but no harm to data.\n";
  if (checkErrors > 0) text += `\n${checkErrors} internal errors have occurred during the check.\n`;
  if (totalClusters > 0 && allocatedClusters > 0) {
    const percent = (part: number, whole: number) => `${fixedDecimals((part * 100) / whole, 2)}%`;
    text +=
      `${allocatedClusters}/${totalClusters} = ${percent(allocatedClusters, totalClusters)} allocated, ` +
      `${percent(result.fragmentedClusters, allocatedClusters)} fragmented, ` +
      `${percent(result.compressedClusters, allocatedClusters)} compressed clusters\n`;
  }
  if (imageEndOffset > 0) text += `Image end offset: ${imageEndOffset}\n`;
  return text;
}

/** QEMU's keys; what is 0 it leaves out, but for the errors of the check itself. */
function checkJson(result: CheckResult, filename: string): object {
  const some = (value: number) => (value === 0 ? undefined : value);
  return {
    "image-end-offset": some(result.imageEndOffset),
    "total-clusters": some(result.totalClusters),
    "corruptions-fixed": some(result.corruptionsFixed),
    corruptions: some(result.corruptions),
    "check-errors": result.checkErrors,
    "leaks-fixed": some(result.leaksFixed),
    leaks: some(result.leaks),
    "fragmented-clusters": some(result.fragmentedClusters),
    "compressed-clusters": some(result.compressedClusters),
    "allocated-clusters": some(result.allocatedClusters),
    filename,
    format: "qcow2",
  };
}
