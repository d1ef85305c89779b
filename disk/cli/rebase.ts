import { Command } from "commander";
import { checkCacheMode } from "./cache-mode.ts";
import { addImageOptions, helpText, type ImageOptionValues, imageOptionsOf } from "./common-options.ts";
import { ExitCode, ExitError } from "./exit.ts";
import { parseImageSpec } from "./image-spec.ts";
import { interruptible } from "./interrupt.ts";
import { isQcow2 } from "./map-chain.ts";
import type { OpenImageOptions } from "./open-image.ts";
import { openImage } from "./open-image.ts";
import { type Out, warningsTo } from "./out.ts";
import { startProgress } from "./progress.ts";
import { openNewBacking, writeDifferences } from "./rebase-copy.ts";

export interface RebaseOptions extends OpenImageOptions {
  readonly backing?: string | undefined;
  readonly backingFormat?: string | undefined;
  readonly unsafe?: boolean | undefined;
  readonly progress?: boolean | undefined;
  readonly quiet?: boolean | undefined;
  readonly cache?: string | undefined;
  readonly sourceCache?: string | undefined;
}

export function createCommand(out: Out): Command {
  const command = new Command("rebase")
    .description("Puts an image over another backing file. Its content stays the same, but with -u.")
    .argument("<file>", "the image")
    .option("-b, --backing <file>", "the new backing file; an empty name for none")
    .option("-F, --backing-format <format>", "the format of the new backing file")
    .option("-u, --unsafe", "change the name only: for a backing file that was moved or converted")
    .option("-p, --progress", "show how far it has come")
    .option("-q, --quiet", "say nothing but errors")
    .option("-t, --cache <mode>", "taken as qemu-img's, and without effect")
    .option("-T, --source-cache <mode>", "taken as qemu-img's, and without effect");
  return addImageOptions(command)
    .addHelpText(
      "after",
      helpText(
        [
          "byre rebase -b newer.qcow2 -F qcow2 overlay.qcow2",
          'byre rebase -b "" overlay.qcow2',
          "byre rebase -u -b /elsewhere/base.qcow2 -F qcow2 overlay.qcow2",
        ],
        {
          0: "it is over the new one",
          1: "it is over its old one, and reads as before",
          130: "it was interrupted (143 by SIGTERM)",
        },
      ),
    )
    .action(async (file: string, values: ImageOptionValues & RebaseOptions) => {
      await rebase(file, { ...values, ...imageOptionsOf(values) }, out);
    });
}

export async function rebase(spec: string, options: RebaseOptions, out: Out): Promise<void> {
  const { backing, backingFormat, unsafe = false } = options;
  checkCacheMode(options.cache);
  checkCacheMode(options.sourceCache, "source cache");
  if (backing === undefined && !unsafe)
    throw new ExitError(ExitCode.FAILED, "Must specify backing file (-b) or use unsafe mode (-u)");
  if (backingFormat !== undefined && backingFormat !== "qcow2" && backingFormat !== "raw")
    throw new ExitError(ExitCode.FAILED, `Invalid format name: '${backingFormat}'`);
  const image = await openImage(spec, {
    ...options,
    writable: true,
    noBacking: unsafe,
    onWarning: warningsTo(out),
  });
  const { device } = image;
  const progress = startProgress(out, {
    requested: options.progress && !options.quiet,
    quiet: options.quiet,
  });
  try {
    const change = backing ? { name: backing, format: backingFormat } : undefined;
    const target =
      !unsafe && change ? await openNewBacking(image, parseImageSpec(spec, options).file, change) : undefined;
    try {
      if (!isQcow2(device)) throw notChanged(backing, "its format has no backing files");
      if (change && change.format === undefined)
        throw notChanged(backing, "backing format must be specified (-F)");
      const leaves = () => `${spec} is over its old backing file still, and reads as before: run it again.`;
      await interruptible(out, { leaves, cooperative: true }, async (signal) => {
        if (!unsafe)
          await writeDifferences(device, target, (fraction) => {
            signal.throwIfAborted();
            progress.update(fraction);
          });
        await device.changeHeader({
          backing: change ? { name: change.name, format: change.format ?? "" } : null,
        });
      });
    } finally {
      await target?.close();
    }
    progress.update(1);
  } finally {
    progress.end();
    await device.close();
  }
}

function notChanged(backing: string | undefined, why: string): ExitError {
  return new ExitError(ExitCode.FAILED, `Could not change the backing file to '${backing ?? ""}': ${why}`);
}
