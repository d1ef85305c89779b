import { statSync } from "node:fs";
import { Command } from "commander";
import type { BlockDevice } from "../block-device.ts";
import { type CreateQcow2Options, createQcow2 } from "../qcow2/create.ts";
import { addImageOptions, collect, helpText } from "./common-options.ts";
import { copyToDevice } from "./convert-device.ts";
import { type CopyWatch, copyToNewImage, copyToRawFile, type FastCopyOptions } from "./convert-fast.ts";
import { carriedMetadata } from "./convert-metadata.ts";
import { type ConvertPlan, type ConvertValues, planConvert } from "./convert-options.ts";
import { salvagingRead } from "./convert-salvage.ts";
import { copyWithSnapshots } from "./convert-snapshots.ts";
import { ConvertSource } from "./convert-source.ts";
import { createFormat, createOptionsHelp, textOf } from "./create-options.ts";
import { ExitCode, ExitError } from "./exit.ts";
import { parseFileName } from "./image-spec.ts";
import { interruptible } from "./interrupt.ts";
import { isQcow2 } from "./map-chain.ts";
import { inNewFile } from "./new-file.ts";
import { type OpenedImage, openImage } from "./open-image.ts";
import type { Out } from "./out.ts";
import { startProgress } from "./progress.ts";
import { qcow2Options } from "./qcow2-options.ts";
import { parseSecrets, type Secrets } from "./secrets.ts";

export function createCommand(out: Out): Command {
  const command = new Command("convert")
    .description("Copies an image into another format, compression, cluster size ...")
    .argument("[files...]", "the images to copy, one after the other, and at the end the new one")
    .option("-O, --output-format <format>", "the new image's format: qcow2 or raw (the default)")
    .option("-c, --compress", "compress the new image's clusters")
    .option("-o, --options <list>", "NAME=VALUE,... of the new image; -o help lists them", collect)
    .option("-B, --backing <file>", "the image behind the new one: copies only what the source has itself")
    .option("-F, --backing-format <format>", "the format of the backing file")
    .option("-l, --snapshot <snapshot>", "copy this internal snapshot: its id or name")
    .option("-S, --sparse <size>", "zeros of so many bytes make a hole (4k); 0 writes everything")
    .option("-n, --skip-create", "write into an image that is there")
    .option("--target-is-zero", "with -n: what is there is all zeros")
    .option("--target-image-opts", "with -n: the target is given as driver=qcow2,file.filename=NAME,...")
    .option("-p, --progress", "show how far it has come")
    .option("-q, --quiet", "say nothing but errors")
    .option("--salvage", "go on where the source cannot be read, with zeros instead")
    .option("--with-snapshots", "copy the internal snapshots too")
    .option("--bitmaps", "refused: dirty bitmaps are not carried")
    .option("--skip-broken-bitmaps", "goes with --bitmaps")
    .option(
      "-t, --cache <mode>",
      "how the target is written: 'unsafe' (the default) leaves it to the system when",
    )
    .option("-T, --source-cache <mode>", "taken as qemu-img's, and without effect")
    .option("-W, --out-of-order", "taken as qemu-img's, and without effect")
    .option(
      "-m, --coroutines <count>",
      "taken as qemu-img's, and without effect: threads are as many as processors",
    )
    .option("-C, --copy-range", "taken as qemu-img's, and without effect")
    .option("-r, --rate-limit <rate>", "taken as qemu-img's, and without effect");
  return addImageOptions(command)
    .addHelpText(
      "after",
      helpText(
        [
          "byre convert -O qcow2 -c disk.raw disk.qcow2",
          "byre convert disk.qcow2 disk.raw",
          "byre convert -O qcow2 --with-snapshots -o compression_type=zstd -c old.qcow2 new.qcow2",
          "byre convert -O qcow2 -B base.qcow2 -F qcow2 overlay.qcow2 new-overlay.qcow2",
        ],
        {
          0: "it is copied",
          1: "it is not: the message says why",
          130: "it was interrupted (143 by SIGTERM)",
        },
      ),
    )
    .action(async (files: string[], values: ConvertValues) => {
      await convert(files, values, out);
    });
}

/** For tests, which prove that every way of copying makes the same. */
export interface ConvertTuning {
  readonly throughDevice?: boolean;
  readonly threads?: number;
}

/** Copies images into a new one, or one that is there. */
export async function convert(
  files: readonly string[],
  values: ConvertValues,
  out: Out,
  tuning: ConvertTuning = {},
): Promise<void> {
  const help = createOptionsHelp(createFormat(values.outputFormat ?? "raw"), values.options ?? []);
  if (help !== undefined) return out.out(help);
  const plan = planConvert(files, values);
  const secrets = parseSecrets(values.object ?? []);
  const progress = startProgress(out, { requested: values.progress && !values.quiet, quiet: values.quiet });
  const state: ConvertState = { begun: false, writtenBytes: 0 };
  const warn = (message: string) => {
    if (!values.quiet) out.err(`byre: warning: ${message}\n`);
  };
  try {
    await interruptible(out, { leaves: () => leaves(plan, state), cooperative: true }, async (signal) => {
      const source = await ConvertSource.open(plan.sources, {
        format: values.format,
        imageOpts: values.imageOpts,
        secrets,
        snapshot: plan.snapshot,
        onWarning: warn,
      });
      const watch: CopyWatch = {
        signal,
        progress(offsetBytes) {
          state.writtenBytes = offsetBytes;
          progress.update(offsetBytes / source.sizeBytes);
        },
      };
      try {
        await copyTo(source, { plan, secrets, watch, state, warn, tuning });
        progress.update(1);
      } finally {
        await source.close();
      }
    });
  } finally {
    progress.end();
  }
}

interface ConvertState {
  /** The target has been touched. */
  begun: boolean;
  writtenBytes: number;
}

interface ConvertContext {
  readonly plan: ConvertPlan;
  readonly secrets: Secrets;
  readonly watch: CopyWatch;
  readonly state: ConvertState;
  readonly warn: (message: string) => void;
  readonly tuning: ConvertTuning;
}

function leaves(
  { target, outputFormat, create }: ConvertPlan,
  { begun, writtenBytes }: ConvertState,
): string {
  if (!begun) return `${target} is as it was.`;
  if (!create)
    return `${target} has the new content up to byte ${writtenBytes}, and its old content after that.`;
  return outputFormat === "raw"
    ? `${target} is incomplete: it has the disk up to byte ${writtenBytes} and zeros after that.`
    : `${target} is incomplete: a whole image, but of the disk only up to byte ${writtenBytes}.`;
}

async function copyTo(source: ConvertSource, context: ConvertContext): Promise<void> {
  const { plan, warn, tuning, watch } = context;
  const targetFile = plan.targetImageOpts ? undefined : parseFileName(plan.target);
  if (targetFile && targetFile.kind !== "path")
    throw new ExitError(ExitCode.FAILED, `${plan.target}: images are made in files only.`);
  const path = targetFile?.path;
  if (path !== undefined && source.reads(path))
    throw new ExitError(
      ExitCode.FAILED,
      `${plan.target}: it is being read. Choose another name for the copy.`,
    );
  // From here on the target is touched.
  watch.signal.throwIfAborted();
  const read = plan.salvage ? salvagingRead(source, warn) : source.read.bind(source);
  const fast: FastCopyOptions = {
    plan,
    read,
    watch,
    throughDevice: (tuning.throughDevice ?? false) || plan.salvage,
    threads: tuning.threads,
  };
  if (!plan.create || path === undefined) return await copyIntoOpened(source, context, read, undefined);
  if (plan.outputFormat === "raw") {
    if (!isRegular(path)) return await copyIntoOpened(source, context, read, undefined);
    context.state.begun = true;
    return await copyToRawFile(source, path, fast);
  }
  const wanted = await wantedImage(source, context);
  context.state.begun = true;
  await inNewFile(path, (file) => createQcow2(file, wanted));
  if (plan.withSnapshots || !isBuilt(wanted)) return await copyIntoOpened(source, context, read, wanted);
  await copyToNewImage(
    source,
    path,
    plan.compress ? (wanted.compression ?? "zlib") : undefined,
    wanted.clusterSizeBytes ?? 65536,
    fast,
  );
}

/** What the new image is to be. It says of itself what the source says. */
async function wantedImage(
  source: ConvertSource,
  { plan, secrets, warn }: ConvertContext,
): Promise<CreateQcow2Options> {
  const label = `${plan.target}: error while converting qcow2`;
  const wanted = qcow2Options(plan.createValues, BigInt(source.sizeBytes), secrets, label);
  const extensions = await carriedMetadata(source, wanted, warn);
  return extensions.length > 0 ? { ...wanted, extensions } : wanted;
}

/** Whether data can be laid into it from start to end, without the device. */
function isBuilt(wanted: CreateQcow2Options): boolean {
  const { backing, encryption, extendedL2, preallocation = "off" } = wanted;
  return !backing && !encryption && !extendedL2 && preallocation === "off";
}

async function copyIntoOpened(
  source: ConvertSource,
  context: ConvertContext,
  read: FastCopyOptions["read"],
  made: CreateQcow2Options | undefined,
): Promise<void> {
  const { plan, state, watch } = context;
  const { device: target } = await openTarget(context);
  try {
    if (target.sizeBytes < source.sizeBytes)
      throw new ExitError(ExitCode.FAILED, "output file is smaller than input file");
    if (plan.compress && !isQcow2(target))
      throw new ExitError(ExitCode.FAILED, "Compression not supported for this file format");
    state.begun = true;
    if (plan.withSnapshots) {
      await copyWithSnapshots(source, target, { compress: plan.compress, watch });
      return await target.flush();
    }
    const hasBacking = plan.backing !== undefined;
    const isClear = made !== undefined && !(made.encryption && (made.preallocation ?? "off") !== "off");
    await copyToDevice(source, target, {
      plan,
      read,
      watch,
      hasBacking,
      hasZeroInit: plan.targetIsZero || (isClear && !hasBacking && plan.minZeroBytes > 0),
      backingBytes: made && hasBacking ? backingOf(target)?.sizeBytes : undefined,
    });
    await target.flush();
  } finally {
    await target.close();
  }
}

function backingOf(target: BlockDevice): BlockDevice | undefined {
  return isQcow2(target) ? target.backing : undefined;
}

async function openTarget({ plan, secrets, warn }: ConvertContext): Promise<OpenedImage> {
  const options = { writable: true, secrets, cacheOrdered: false, onWarning: warn };
  if (plan.targetImageOpts) return await openImage(plan.target, { ...options, imageOpts: true });
  const keySecret = textOf(plan.createValues, "encrypt.key-secret");
  if (keySecret === undefined) return await openImage(plan.target, { ...options, format: plan.outputFormat });
  const quoted = (text: string) => text.replaceAll(",", ",,");
  const spec = `driver=qcow2,encrypt.key-secret=${quoted(keySecret)},file.filename=${quoted(plan.target)}`;
  return await openImage(spec, { ...options, imageOpts: true });
}

function isRegular(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isFile() ?? true;
}
