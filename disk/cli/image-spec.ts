import { ExitCode, ExitError } from "./exit.ts";
import { parseOptionString } from "./option-string.ts";
import { parseSize } from "./sizes.ts";

/** Where an image's bytes are, as the command line names it. */
export type FileSpec =
  | { readonly kind: "path"; readonly path: string }
  | { readonly kind: "url"; readonly url: string }
  | { readonly kind: "tar"; readonly path: string }
  | {
      readonly kind: "slice";
      readonly file: FileSpec;
      readonly offsetBytes: number;
      readonly sizeBytes?: number;
    };

/** An image as the command line names it: its file, and what was said of its format. */
export interface ImageSpec {
  readonly file: FileSpec;
  readonly format?: string;
  /** The id of the secret that opens it. */
  readonly keySecret?: string;
  /** Opened without what is behind it, although it names it (`backing: null`). */
  readonly noBacking?: boolean;
  /** What `info` calls it. */
  readonly filename: string;
}

/** Options of a node by dotted name, as `file.filename` stands on the command line; nested ones too. */
type Options = ReadonlyMap<string, unknown>;

/** QEMU's options that change how it works and not what one reads; taken, and without effect here. */
const WITHOUT_EFFECT =
  /^(node-name|read-only|auto-read-only|force-share|discard|detect-zeroes|cache\..*|aio|locking|l2-cache-.*|cache-.*|refcount-cache-size|lazy-refcounts|overlap-check.*|pass-discard-.*|x-check-cache-dropped|drop-cache|cache)$/;

/** The formats that are read, by QEMU's names; the last is ours, and only read. */
export const FORMATS = ["qcow2", "raw", "qcow3-2008"] as const;
export type ImageFormat = (typeof FORMATS)[number];

interface SpecOptions {
  /** As `-f`. */
  readonly format?: string | undefined;
  /** The spec is `--image-opts`, not a name. */
  readonly imageOpts?: boolean | undefined;
}

/** What a spec names, without opening it. */
export function parseImageSpec(spec: string, options: SpecOptions): ImageSpec {
  if (!options.imageOpts) return parseImageName(spec);
  if (options.format !== undefined)
    throw new ExitError(ExitCode.FAILED, "--image-opts and --format are mutually exclusive");
  return parseImageOptions(spec);
}

/** The format asked for by name, or undefined to probe. */
export function requestedFormat(
  spec: string,
  image: ImageSpec,
  options: SpecOptions,
): ImageFormat | undefined {
  const format = image.format ?? options.format;
  if (format === undefined) return undefined;
  const known = FORMATS.find((name) => name === format);
  if (known === undefined) throw couldNotOpen(spec, `Unknown driver '${format}'`);
  return known;
}

/**
 * Reads what stands for an image on the command line: a path, a URL, `tar:ARCHIVE/MEMBER`, `json:{...}`.
 *
 * @throws ExitError where QEMU too cannot tell what is meant.
 */
export function parseImageName(name: string): ImageSpec {
  if (name.startsWith("json:")) return parseJson(name);
  return { file: parseFileName(name), filename: name };
}

/** Reads `--image-opts`: `driver=qcow2,file.filename=disk.qcow2`. */
export function parseImageOptions(text: string): ImageSpec {
  return specOf(new Map(parseOptionString(text)), text);
}

/** A file's name alone, as it stands for a file and not for an image. */
export function parseFileName(name: string): FileSpec {
  const scheme = /^([^:/]*):/.exec(name)?.[1];
  if (scheme === undefined) return { kind: "path", path: name };
  const rest = name.slice(scheme.length + 1);
  if (scheme === "file") return { kind: "path", path: rest.replace(/^\/\/(?=\/)/, "") };
  if (scheme === "http" || scheme === "https") return { kind: "url", url: name };
  if (scheme === "tar") return { kind: "tar", path: rest };
  throw couldNotOpen(name, `Unknown protocol '${scheme}'`);
}

function parseJson(name: string): ImageSpec {
  let value: unknown;
  try {
    value = JSON.parse(name.slice("json:".length));
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw couldNotOpen(name, `Could not parse the JSON options: ${reason}`);
  }
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw couldNotOpen(name, "Invalid JSON object given");
  const options = new Map<string, unknown>();
  const flatten = (below: object, path: string): void => {
    for (const [key, item] of Object.entries(below)) {
      if (typeof item === "object" && item !== null) flatten(item, `${path}${key}.`);
      else options.set(path + key, item);
    }
  };
  flatten(value, "");
  return specOf(options, name);
}

function specOf(options: Options, label: string): ImageSpec {
  const taken = new Taken(options, label);
  const format = taken.text("driver");
  const keySecret = taken.text("encrypt.key-secret") ?? taken.text("key-secret");
  taken.text("encrypt.format");
  const backing = taken.take("backing");
  if (backing !== undefined && backing !== null && backing !== "")
    throw couldNotOpen(label, "'backing' may be null or empty here; another backing file cannot be given");
  if (format === "file" || format === "http" || format === "https") {
    const file = fileOf(options, label);
    return { file, format: "raw", filename: canonical(file) };
  }
  const window = format === "raw" ? windowOf(taken, label) : {};
  const name = taken.text("filename");
  const below = taken.below("file");
  taken.finish(format === undefined ? "file" : `format '${format}'`);
  if (below.size === 0 && name === undefined)
    throw couldNotOpen(label, `A block device must be specified for "file"`);
  const file = below.size > 0 ? fileOf(below, label) : parseFileName(name ?? "");
  const sliced = slice(file, window);
  return {
    file: sliced,
    filename: canonical(sliced),
    ...(format !== undefined && { format }),
    ...(keySecret !== undefined && { keySecret }),
    ...(backing !== undefined && { noBacking: true }),
  };
}

function fileOf(options: Options, label: string): FileSpec {
  const taken = new Taken(options, label);
  const driver = taken.text("driver");
  if (driver === "raw") {
    const window = windowOf(taken, label);
    const below = taken.below("file");
    taken.finish("format 'raw'");
    if (below.size === 0) throw couldNotOpen(label, `A block device must be specified for "file"`);
    return slice(fileOf(below, label), window);
  }
  const name = taken.text("filename") ?? taken.text("url");
  taken.finish(`protocol '${driver ?? "file"}'`);
  if (name === undefined)
    throw couldNotOpen(label, "The 'file' block driver requires a file name: give file.filename");
  if (driver === "file") return { kind: "path", path: name };
  if (driver === undefined || driver === "http" || driver === "https") return parseFileName(name);
  throw couldNotOpen(label, `Unknown driver '${driver}'`);
}

interface Window {
  readonly offsetBytes?: number;
  readonly sizeBytes?: number;
}

function windowOf(taken: Taken, label: string): Window {
  const offsetBytes = taken.size("offset");
  const sizeBytes = taken.size("size");
  if (sizeBytes !== undefined && sizeBytes % 512 !== 0)
    throw couldNotOpen(label, "Specified size is not multiple of 512");
  return { ...(offsetBytes !== undefined && { offsetBytes }), ...(sizeBytes !== undefined && { sizeBytes }) };
}

function slice(file: FileSpec, { offsetBytes = 0, sizeBytes }: Window): FileSpec {
  if (offsetBytes === 0 && sizeBytes === undefined) return file;
  return { kind: "slice", file, offsetBytes, ...(sizeBytes !== undefined && { sizeBytes }) };
}

/** The options of one node; what nothing asks for is refused, since it was meant to do something. */
class Taken {
  private readonly left: Map<string, unknown>;

  constructor(
    options: Options,
    private readonly label: string,
  ) {
    this.left = new Map(options);
  }

  take(name: string): unknown {
    const value = this.left.get(name);
    this.left.delete(name);
    return value;
  }

  /** The options of the node below, by their names there. */
  below(name: string): Map<string, unknown> {
    const reference = this.take(name);
    if (reference !== undefined)
      throw couldNotOpen(this.label, `Cannot find device='${reference}' nor node-name='${reference}'`);
    const options = new Map<string, unknown>();
    for (const key of [...this.left.keys()])
      if (key.startsWith(`${name}.`)) options.set(key.slice(name.length + 1), this.take(key));
    return options;
  }

  text(name: string): string | undefined {
    const value = this.take(name);
    if (value === undefined || typeof value === "string") return value;
    throw couldNotOpen(this.label, `Invalid parameter type for '${name}', expected: string`);
  }

  size(name: string): number | undefined {
    const value = this.take(name);
    if (value === undefined) return undefined;
    const bytes = typeof value === "number" ? value : Number(parseSize(String(value)));
    if (Number.isSafeInteger(bytes) && bytes >= 0) return bytes;
    throw couldNotOpen(this.label, `Parameter '${name}' expects a size in bytes, with a suffix k, M, G ...`);
  }

  finish(what: string): void {
    for (const name of this.left.keys())
      if (!WITHOUT_EFFECT.test(name))
        throw couldNotOpen(this.label, `Block ${what} does not support the option '${name}'`);
  }
}

function canonical(file: FileSpec): string {
  if (file.kind === "path") return file.path;
  if (file.kind === "url") return file.url;
  if (file.kind === "tar") return `tar:${file.path}`;
  return `json:${JSON.stringify(asJson(file))}`;
}

function asJson(file: FileSpec): object {
  if (file.kind !== "slice") return { driver: "file", filename: canonical(file) };
  const { offsetBytes, sizeBytes } = file;
  return {
    driver: "raw",
    offset: offsetBytes,
    ...(sizeBytes !== undefined && { size: sizeBytes }),
    file: asJson(file.file),
  };
}

/** As QEMU begins every message about an image it could not open. */
export function couldNotOpen(name: string, reason: string): ExitError {
  return new ExitError(ExitCode.FAILED, `Could not open '${name}': ${reason}`);
}
