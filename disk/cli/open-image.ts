import { statSync } from "node:fs";
import { isAbsolute } from "node:path";
import type { BlockDevice } from "../block-device.ts";
import type { BlockFile } from "../block-file.ts";
import { ByreError } from "../errors.ts";
import { openHttpFile } from "../files/http-file.ts";
import { openNodeFile } from "../files/node-file.ts";
import type { BackingResolver } from "../qcow2/open.ts";
import {
  couldNotOpen,
  type FileSpec,
  type ImageSpec,
  parseFileName,
  parseImageName,
  parseImageOptions,
} from "./image-spec.ts";
import { openFormat } from "./open-format.ts";
import { probeFormat } from "./probe-format.ts";
import type { Secrets } from "./secrets.ts";

/** The formats that are read, by QEMU's names; the last is ours. */
export const FORMATS = ["qcow2", "raw", "qcow3-2008"] as const;
export type ImageFormat = (typeof FORMATS)[number];

export interface OpenImageOptions {
  /** As `-f`; probed when left out. */
  format?: string | undefined;
  /** The spec is `--image-opts`, not a name. */
  imageOpts?: boolean | undefined;
  /** What `--object` defined. */
  secrets?: Secrets | undefined;
  /** Default: false. */
  writable?: boolean | undefined;
  /** A read-only view of this internal snapshot, by id or name. */
  snapshot?: string | undefined;
  /** Reads nothing of what is behind the image: for commands about the image alone. */
  noBacking?: boolean | undefined;
  /** False for a new file that nothing relies on before it is done: written through, in no order. Default: true. */
  cacheOrdered?: boolean | undefined;
  /** Hears what a person should know of. */
  onWarning?: ((message: string) => void) | undefined;
}

export interface OpenedImage {
  /** Owns the file: closing it closes all. */
  readonly device: BlockDevice;
  readonly file: BlockFile;
  readonly format: ImageFormat;
  /** What `info` calls it. */
  readonly filename: string;
  /** The format was guessed from the content; writing block 0 of a raw image is not to be trusted to a guess. */
  readonly probed: boolean;
}

/**
 * Opens an image as the command line names it: a path, `json:{...}`, `tar:ARCHIVE/MEMBER`, an http(s) URL, or
 * with `imageOpts` QEMU's `driver=...,file.filename=...`. What is behind it is opened by its names in the
 * images, relative to each image's own folder, as QEMU does: the person has named the image.
 *
 * @throws ExitError for a spec that means nothing; ByreError for what cannot be opened.
 */
export async function openImage(spec: string, options: OpenImageOptions = {}): Promise<OpenedImage> {
  const image = parseImageSpec(spec, options);
  const file = await openFileSpec(image.file, options);
  return await openFileAs(file, image, spec, options);
}

/** What a spec names, without opening it. */
export function parseImageSpec(spec: string, options: OpenImageOptions): ImageSpec {
  if (!options.imageOpts) return parseImageName(spec);
  if (options.format !== undefined)
    throw new ByreError("INVALID_ARGUMENT", "--image-opts and --format are mutually exclusive");
  return parseImageOptions(spec);
}

/** The format asked for by name, or undefined to probe. */
export function requestedFormat(
  spec: string,
  image: ImageSpec,
  options: OpenImageOptions,
): ImageFormat | undefined {
  const format = image.format ?? options.format;
  if (format === undefined) return undefined;
  const known = FORMATS.find((name) => name === format);
  if (known === undefined) throw couldNotOpen(spec, `Unknown driver '${format}'`);
  return known;
}

async function openFileAs(
  file: BlockFile,
  image: ImageSpec,
  spec: string,
  options: OpenImageOptions,
): Promise<OpenedImage> {
  try {
    const requested = requestedFormat(spec, image, options);
    const format = requested ?? (await probeFormat(file));
    const writable = options.writable ?? false;
    if (requested === undefined && format === "raw" && writable) options.onWarning?.(probedRaw(spec));
    const password = passwordOf(image, options);
    const device = await openFormat(file, {
      format,
      writable,
      ...(image.noBacking || options.noBacking
        ? { backing: "none" as const }
        : { resolveBacking: backingResolver(image.file) }),
      ...(password !== undefined && { password }),
      ...(options.snapshot !== undefined && { snapshot: options.snapshot }),
      ...(options.onWarning && { onWarning: options.onWarning }),
    });
    return { device, file, format, filename: image.filename, probed: requested === undefined };
  } catch (error) {
    await file.close();
    throw error;
  }
}

function passwordOf(image: ImageSpec, { secrets }: OpenImageOptions): Uint8Array | undefined {
  if (image.keySecret === undefined) return undefined;
  const password = secrets?.get(image.keySecret);
  if (password) return password;
  throw new ByreError(
    "INVALID_ARGUMENT",
    `No secret with id '${image.keySecret}': give --object secret,id=${image.keySecret},data=PASSWORD (or file=PATH).`,
    { secret: image.keySecret },
  );
}

/** Opens the bytes; the caller closes them. */
export async function openFileSpec(
  file: FileSpec,
  options: Pick<OpenImageOptions, "writable" | "cacheOrdered"> = {},
): Promise<BlockFile> {
  switch (file.kind) {
    case "path":
      return await openNodeFile(file.path, { writable: options.writable ?? false });
    case "url":
      refuseWriting(options, file.url, "what a web server has");
      // A command reads what it needs and ends: nothing is fetched ahead for it.
      return await openHttpFile(file.url, { fetchWholeBelowBytes: 0 });
    case "tar":
      refuseWriting(options, file.path, "a member of an archive");
      return await openMember(file.path);
    case "slice":
      return await openSlice(file, options);
  }
}

function refuseWriting(options: { writable?: boolean | undefined }, name: string, what: string): void {
  if (!options.writable) return;
  throw new ByreError("READ_ONLY", `${name}: ${what} can only be read. Copy it out first.`, { file: name });
}

async function openMember(path: string): Promise<BlockFile> {
  const archive = archiveIn(path);
  if (archive === undefined)
    throw new ByreError("NOT_FOUND", `tar:${path}: no part of this path is an archive's file.`, {
      file: path,
    });
  throw new ByreError("UNSUPPORTED_FEATURE", `tar:${archive}: archives are not read yet.`, { file: archive });
}

/** The first part of `DIR/FILE.tar/folder/disk.qcow2` that is a file. */
function archiveIn(path: string): string | undefined {
  for (let at = path.indexOf("/", 1); at >= 0; at = path.indexOf("/", at + 1)) {
    const archive = path.slice(0, at);
    if (statSync(archive, { throwIfNoEntry: false })?.isFile()) return archive;
  }
  return undefined;
}

async function openSlice(
  slice: FileSpec & { kind: "slice" },
  options: Pick<OpenImageOptions, "writable" | "cacheOrdered">,
): Promise<BlockFile> {
  void options;
  throw new ByreError("UNSUPPORTED_FEATURE", `${slice.offsetBytes}: offset and size are not done yet.`);
}

/**
 * Opens what images name behind them. A chain asks link by link, so each relative name belongs to the
 * folder of the one before.
 */
export function backingResolver(top: FileSpec): BackingResolver {
  let overlay = top;
  return async ({ name }) => {
    overlay = backingSpec(overlay, name);
    return await openFileSpec(overlay);
  };
}

/** Which file an image's backing name means. */
export function backingSpec(overlay: FileSpec, name: string): FileSpec {
  const image = name.startsWith("json:") ? parseImageName(name).file : parseFileName(name);
  if (image.kind !== "path" || isAbsolute(image.path)) return image;
  if (overlay.kind === "path") return { kind: "path", path: folderOf(overlay.path) + image.path };
  if (overlay.kind === "url") return { kind: "url", url: new URL(image.path, overlay.url).href };
  throw new ByreError(
    "BACKING_DENIED",
    `The backing file name "${name}" is relative, but the image is inside another file and has no folder.`,
    { backing: name },
  );
}

/** Up to the last slash and with it: names are joined as QEMU joins them, for `info` to print them alike. */
function folderOf(path: string): string {
  return path.slice(0, path.lastIndexOf("/") + 1);
}

function probedRaw(spec: string): string {
  return (
    `Image format was not specified for '${spec}' and probing guessed raw.\n` +
    "         Automatically detecting the format is dangerous for raw images, write operations on block 0 " +
    "will be restricted.\n" +
    "         Specify the 'raw' format explicitly to remove the restrictions."
  );
}
