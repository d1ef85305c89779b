import { Command } from "commander";
import type { BlockFile } from "../block-file.ts";
import { ByreError } from "../errors.ts";
import { readBitmaps } from "../qcow2/bitmaps.ts";
import {
  addImageOptions,
  helpText,
  type ImageOptionValues,
  imageOptionsOf,
  outputOption,
} from "./common-options.ts";
import { bitmapInfo, type ImageInfo, qcow2ImageInfo, rawImageInfo } from "./image-info.ts";
import { type ImageSpec, parseImageSpec, requestedFormat } from "./image-spec.ts";
import { infoText } from "./info-text.ts";
import { backingSpec, fullBackingName, openFileSpec } from "./open-file.ts";
import type { OpenImageOptions } from "./open-image.ts";
import type { Out } from "./out.ts";
import { probeFormat } from "./probe-format.ts";
import { qemuJson } from "./qemu-json.ts";
import { readKnownHeader, readSnapshots } from "./read-header.ts";

/** As the driver: longer chains are refused. */
const MAX_CHAIN = 64;

export interface InfoOptions extends OpenImageOptions {
  readonly output: "human" | "json";
  readonly backingChain?: boolean | undefined;
}

export function createCommand(out: Out): Command {
  const command = new Command("info")
    .description("Says what an image is: format, sizes, snapshots, what is behind it.")
    .argument("<file>", "the image")
    .addOption(outputOption())
    .option("--backing-chain", "go on with what is behind it, and behind that");
  return addImageOptions(command)
    .addHelpText(
      "after",
      helpText(
        [
          "byre info disk.qcow2",
          "byre info --backing-chain --output=json overlay.qcow2",
          "byre info tar:disks.tar/disk.qcow2",
        ],
        { 0: "it was said", 1: "the image cannot be opened, or its tables make no sense" },
      ),
    )
    .action(async (file: string, values: ImageOptionValues & InfoOptions) => {
      await info(
        file,
        { ...imageOptionsOf(values), output: values.output, backingChain: values.backingChain },
        out,
      );
    });
}

/** Prints what an image is. Of what it names, only with `backingChain` is anything opened. */
export async function info(spec: string, options: InfoOptions, out: Out): Promise<void> {
  const chain = await imageInfoChain(spec, options);
  if (options.output === "human") out.out(chain.map(infoText).join("\n"));
  else out.out(`${qemuJson(options.backingChain ? chain : chain[0])}\n`);
}

async function imageInfoChain(spec: string, options: InfoOptions): Promise<ImageInfo[]> {
  let image = parseImageSpec(spec, options);
  let format = requestedFormat(spec, image, options);
  const chain: ImageInfo[] = [];
  const seen = new Set<string>();
  for (;;) {
    const key = JSON.stringify(image.file);
    if (seen.has(key) || chain.length >= MAX_CHAIN)
      throw new ByreError("BACKING_LOOP", `Backing file '${image.filename}' creates an infinite loop.`, {
        file: image.filename,
      });
    seen.add(key);
    const one = await imageInfo(image, format);
    chain.push(one.info);
    if (!options.backingChain || one.backing === undefined) return chain;
    image = { ...one.backing, file: backingSpec(image.file, one.backing.name) };
    format = requestedFormat(image.filename, image, {});
  }
}

interface ReportedImage {
  readonly info: ImageInfo;
  /** What is behind it: the name in the image, and what it would be called. Not opened. */
  readonly backing?: { readonly name: string; readonly filename: string; readonly format?: string };
}

async function imageInfo(
  image: ImageSpec,
  requested: ReturnType<typeof requestedFormat>,
): Promise<ReportedImage> {
  const file = await openFileSpec(image.file);
  try {
    const format = requested ?? (await probeFormat(file));
    if (format === "qcow3-2008") return { info: await info2008(image) };
    if (format === "raw") return { info: rawImageInfo(image.file, image.filename, file) };
    return await qcow2Info(image, file);
  } finally {
    await file.close();
  }
}

/** QEMU has no word for these; the keys are those of a version 2 image. */
async function info2008(image: ImageSpec): Promise<ImageInfo> {
  const { open2008Image } = await import("../qcow2/metadata-2008.ts");
  const { device } = await open2008Image(await openFileSpec(image.file), { backing: "none" });
  const { header } = device;
  await device.close();
  const parts = { header, snapshots: [], bitmaps: [], backingPath: undefined };
  return { ...qcow2ImageInfo(image.file, image.filename, parts), format: "qcow3-2008" };
}

async function qcow2Info(image: ImageSpec, file: BlockFile): Promise<ReportedImage> {
  const header = await readKnownHeader(file);
  const snapshots = await readSnapshots(file, header);
  const { backingName: name, backingFormat } = header;
  const backingPath = name === undefined ? undefined : fullBackingName(image.file, name);
  const info = qcow2ImageInfo(image.file, image.filename, {
    header,
    snapshots,
    bitmaps: (await readBitmaps(file, header)).map(bitmapInfo),
    backingPath,
  });
  if (name === undefined) return { info };
  const format = backingFormat === undefined ? {} : { format: backingFormat };
  return { info, backing: { name, filename: backingPath ?? name, ...format } };
}
