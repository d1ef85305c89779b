import type { BlockDevice } from "../block-device.ts";
import type { BlockFile } from "../block-file.ts";
import { ByreError } from "../errors.ts";
import { openDevice } from "../open-device.ts";
import { askPassword, canAsk } from "./ask-password.ts";
import { type ImageFormat, type ImageSpec, parseImageSpec, requestedFormat } from "./image-spec.ts";
import { backingResolver, openFileSpec } from "./open-file.ts";
import { probeFormat } from "./probe-format.ts";
import type { Secrets } from "./secrets.ts";

export { parseImageSpec } from "./image-spec.ts";
export { backingSpec } from "./open-file.ts";

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
  /** Asks for the password of an encrypted image that none was given for. Default: on the terminal, if there is one. */
  askPassword?: ((question: string) => Promise<Uint8Array>) | undefined;
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
  const password = passwordOf(image, options);
  const open = async (given: Uint8Array | undefined) =>
    await openFileAs(await openFileSpec(image.file, options), image, spec, { ...options, password: given });
  try {
    return await open(password);
  } catch (error) {
    const ask = options.askPassword ?? (canAsk() ? askPassword : undefined);
    const isLocked = error instanceof ByreError && error.code === "ENCRYPTED";
    if (!isLocked || password !== undefined || !ask) throw error;
    return await open(await ask(`Password for ${image.filename}: `));
  }
}

async function openFileAs(
  file: BlockFile,
  image: ImageSpec,
  spec: string,
  options: OpenImageOptions & { readonly password: Uint8Array | undefined },
): Promise<OpenedImage> {
  try {
    const requested = requestedFormat(spec, image, options);
    const format = requested ?? (await probeFormat(file));
    const writable = options.writable ?? false;
    if (writable && format === "qcow3-2008")
      throw new ByreError(
        "READ_ONLY",
        `${file.name}: images of 2008 are only read. Convert it to qcow2: byre convert -f qcow3-2008 -O qcow2.`,
        { file: file.name },
      );
    if (requested === undefined && format === "raw" && writable) options.onWarning?.(probedRaw(spec));
    const { password } = options;
    const device = await openDevice(file, {
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

function probedRaw(spec: string): string {
  return (
    `Image format was not specified for '${spec}' and probing guessed raw.\n` +
    "         Automatically detecting the format is dangerous for raw images, write operations on block 0 " +
    "will be restricted.\n" +
    "         Specify the 'raw' format explicitly to remove the restrictions."
  );
}
