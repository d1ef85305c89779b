import { Command } from "commander";
import { ByreError } from "../errors.ts";
import { amendOptionsHelp, parseAmendOptions } from "./amend-options.ts";
import { checkCacheMode } from "./cache-mode.ts";
import {
  addImageOptions,
  collect,
  helpText,
  type ImageOptionValues,
  imageOptionsOf,
} from "./common-options.ts";
import { ExitCode, ExitError } from "./exit.ts";
import { interruptible } from "./interrupt.ts";
import type { OpenImageOptions } from "./open-image.ts";
import { openQcow2Image } from "./open-qcow2.ts";
import { type Out, warningsTo } from "./out.ts";
import { startProgress } from "./progress.ts";

export interface AmendCommandOptions extends OpenImageOptions {
  readonly options?: readonly string[] | undefined;
  readonly progress?: boolean | undefined;
  readonly quiet?: boolean | undefined;
  readonly cache?: string | undefined;
}

export function createCommand(out: Out): Command {
  const command = new Command("amend")
    .description("Changes what kind of image one is, in place: its version, its refcounts, its size.")
    .argument("[file]", "the image")
    .option("-o, --options <list>", "NAME=VALUE,... ; -o help lists them", collect)
    .option("-p, --progress", "show how far it has come")
    .option("-q, --quiet", "say nothing but errors")
    .option("-t, --cache <mode>", "taken as qemu-img's, and without effect")
    .option("--force", "taken as qemu-img's, and without effect");
  return addImageOptions(command)
    .addHelpText(
      "after",
      helpText(
        [
          "byre amend -o compat=1.1 old.qcow2",
          "byre amend -o refcount_bits=64,lazy_refcounts=off disk.qcow2",
        ],
        {
          0: "it is changed",
          1: "it is not, or only some of it: byre info says",
          130: "it was interrupted (143 by SIGTERM)",
        },
      ),
    )
    .action(async (file: string | undefined, values: ImageOptionValues & AmendCommandOptions) => {
      await amend(file, { ...values, ...imageOptionsOf(values) }, out);
    });
}

export async function amend(spec: string | undefined, options: AmendCommandOptions, out: Out): Promise<void> {
  const lists = options.options;
  if (lists === undefined) throw new ExitError(ExitCode.FAILED, "Must specify options (-o)");
  checkCacheMode(options.cache);
  const help = amendOptionsHelp(lists);
  if (help !== undefined) return out.out(help);
  if (spec === undefined) throw new ExitError(ExitCode.FAILED, "Expecting one image file name");
  const device = await openQcow2Image(
    spec,
    {
      ...options,
      writable: true,
      onWarning: warningsTo(out),
    },
    "Format driver 'raw' does not support option amendment",
  );
  const leaves = () =>
    `${spec} has the same content, and perhaps leaked clusters: byre check -r leaks ${spec} mends those.`;
  try {
    const change = parseAmendOptions(lists, device.header);
    await interruptible(out, { leaves, cooperative: true }, async (signal) => {
      const progress = startProgress(out, {
        requested: options.progress && !options.quiet,
        quiet: options.quiet,
      });
      try {
        await device.amend(change, (fraction) => {
          signal.throwIfAborted();
          progress.update(fraction);
        });
        progress.update(1);
      } finally {
        progress.end();
      }
    });
  } catch (error) {
    if (error instanceof ByreError) throw new ExitError(ExitCode.FAILED, error.message);
    throw error;
  } finally {
    await device.close();
  }
}
