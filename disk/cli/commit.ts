import { Command } from "commander";
import { checkCacheMode } from "./cache-mode.ts";
import { copyAbove, findBase, openBase } from "./commit-copy.ts";
import { addImageOptions, helpText, type ImageOptionValues, imageOptionsOf } from "./common-options.ts";
import { ExitCode, ExitError } from "./exit.ts";
import { interruptible } from "./interrupt.ts";
import { chainOf, isQcow2 } from "./map-chain.ts";
import { type OpenImageOptions, openImage } from "./open-image.ts";
import { type Out, warningsTo } from "./out.ts";
import { startProgress } from "./progress.ts";

export interface CommitOptions extends OpenImageOptions {
  readonly base?: string | undefined;
  readonly drop?: boolean | undefined;
  readonly progress?: boolean | undefined;
  readonly quiet?: boolean | undefined;
  readonly cache?: string | undefined;
}

export function createCommand(out: Out): Command {
  const command = new Command("commit")
    .description("Writes what an image has over its backing file into that backing file.")
    .argument("<file>", "the image")
    .option(
      "-b, --base <file>",
      "write into this image of the chain, not the nearest; the image is not emptied",
    )
    .option("-d, --drop", "do not empty the image: it will be thrown away")
    .option("-p, --progress", "show how far it has come")
    .option("-q, --quiet", "say nothing but errors")
    .option("-t, --cache <mode>", "taken as qemu-img's, and without effect")
    .option("-r, --rate-limit <rate>", "taken as qemu-img's, and without effect");
  return addImageOptions(command)
    .addHelpText(
      "after",
      helpText(["byre commit overlay.qcow2", "byre commit -b base.qcow2 top.qcow2"], {
        0: "the backing file has it all",
        1: "it has not, or only in part; the image still has all of it",
        130: "it was interrupted (143 by SIGTERM)",
      }),
    )
    .action(async (file: string, values: ImageOptionValues & CommitOptions) => {
      await commit(file, { ...values, ...imageOptionsOf(values) }, out);
    });
}

/** Writes an image into what is behind it. The image keeps all it has until the last byte of that is durable. */
export async function commit(spec: string, options: CommitOptions, out: Out): Promise<void> {
  checkCacheMode(options.cache);
  const warn = { onWarning: warningsTo(out) };
  const { device } = await openImage(spec, { ...options, ...warn, writable: true });
  let phase: "copying" | "copied" = "copying";
  try {
    const layers = await chainOf(device, spec, options);
    for (const { holes } of layers) holes?.close();
    if (!isQcow2(device) || layers.length < 2)
      throw new ExitError(ExitCode.FAILED, "Image does not have a backing file");
    const depth = findBase(layers, options.base, spec);
    const base = await openBase(layers, depth, { ...options, ...warn });
    const leaves = () =>
      phase === "copying"
        ? `${spec} still has all of it; its backing file may have a part: run it again.`
        : `The backing file has all of it, and ${spec} reads as before.`;
    const progress = startProgress(out, {
      requested: options.progress && !options.quiet,
      quiet: options.quiet,
    });
    try {
      await interruptible(out, { leaves, cooperative: true }, async (signal) => {
        await copyAbove(layers.slice(0, depth), base, (fraction) => {
          signal.throwIfAborted();
          progress.update(fraction);
        });
        phase = "copied";
        // Of a chain that was flattened in part, the image is left as it is.
        if (!options.drop && options.base === undefined) await device.makeEmpty();
        await device.flush();
      });
      progress.update(1);
    } finally {
      progress.end();
      await base.device.close();
    }
  } finally {
    await device.close();
  }
  if (!options.quiet) out.out("Image committed.\n");
}
