import { realpathSync } from "node:fs";
import type { BlockDevice } from "../block-device.ts";
import type { BlockFile } from "../block-file.ts";
import { openRawDevice } from "../raw/raw-device.ts";
import { ExitCode, ExitError } from "./exit.ts";
import { parseFileName } from "./image-spec.ts";
import { type ChainLayer, isQcow2 } from "./map-chain.ts";
import { backingSpec } from "./open-file.ts";
import { type OpenedImage, type OpenImageOptions, openImage } from "./open-image.ts";
import { probeFormat } from "./probe-format.ts";
import { imageName } from "./rebase-copy.ts";

const BUFFER_BYTES = 2 * 1024 * 1024;
/** What is written stays in memory until a flush. */
const FLUSH_BYTES = 32 * 1024 * 1024;
const SECTOR_BYTES = 512;

/**
 * Which image of a chain `-b` means.
 *
 * @returns how many images are above it; 1, the nearest, when none was named.
 * @throws ExitError when the chain does not have it.
 */
export function findBase(layers: readonly ChainLayer[], base: string | undefined, spec: string): number {
  if (base === undefined) return 1;
  for (let depth = 1; depth < layers.length; depth++) {
    const overlay = layers[depth - 1];
    const layer = layers[depth];
    if (!overlay || !layer) break;
    if (overlay.qcow2?.header.backingName === base || isSamePath(layer.path, overlay.path, base))
      return depth;
  }
  throw new ExitError(ExitCode.FAILED, `Did not find '${base}' in the backing chain of '${spec}'`);
}

/** A relative name may be meant from here, or from the folder of the image over it. */
function isSamePath(path: string | undefined, overlayPath: string | undefined, base: string): boolean {
  const real = (name: string | undefined) => {
    try {
      return name === undefined ? undefined : realpathSync(name);
    } catch {
      return undefined;
    }
  };
  const wanted = parseFileName(base);
  if (path === undefined || wanted.kind !== "path") return false;
  const fromOverlay =
    overlayPath === undefined ? undefined : backingSpec({ kind: "path", path: overlayPath }, base);
  const found = real(path);
  return (
    found !== undefined &&
    (found === real(wanted.path) || (fromOverlay?.kind === "path" && found === real(fromOverlay.path)))
  );
}

/** Opens the image that is written into, as a device of its own, as long as the topmost at least. */
export async function openBase(
  layers: readonly ChainLayer[],
  depth: number,
  options: OpenImageOptions,
): Promise<OpenedImage> {
  const layer = layers[depth];
  const overlay = layers[depth - 1];
  const top = layers[0]?.device;
  if (!layer || !overlay || !top || layer.path === undefined)
    throw new ExitError(ExitCode.FAILED, `${layer?.filename ?? "The backing file"} cannot be written to.`);
  const declared = overlay.qcow2?.header.backingFormat;
  const format = declared ?? (layer.qcow2 ? "qcow2" : "raw");
  const base = await openImage(imageName({ kind: "path", path: layer.path }, layer.path), {
    format,
    writable: true,
    secrets: options.secrets,
    onWarning: options.onWarning,
  });
  try {
    if (declared === undefined && format === "raw") await refuseToLookLikeAnImage(top, layer.filename);
    return top.sizeBytes > base.device.sizeBytes ? await grown(base, top.sizeBytes) : base;
  } catch (error) {
    await base.device.close();
    throw error;
  }
}

/** A raw file whose format was guessed must not become what would be guessed to be something else. */
async function refuseToLookLikeAnImage(top: BlockDevice, filename: string): Promise<void> {
  const first = new Uint8Array(Math.min(SECTOR_BYTES, top.sizeBytes));
  await top.read(0, first);
  const asFile = {
    name: filename,
    sizeBytes: first.length,
    read: async (offsetBytes: number, target: Uint8Array) =>
      target.set(first.subarray(offsetBytes, offsetBytes + target.length)),
  } satisfies Pick<BlockFile, "name" | "sizeBytes" | "read">;
  const looksRaw = await probeFormat(asFile).then(
    (format) => format === "raw",
    () => false,
  );
  if (looksRaw) return;
  throw new ExitError(
    ExitCode.FAILED,
    `${filename}: its format was guessed to be raw, and what would be written looks like an image of another. ` +
      "Say which it is: byre rebase -u -b NAME -F raw.",
  );
}

async function grown(base: OpenedImage, sizeBytes: number): Promise<OpenedImage> {
  if (isQcow2(base.device)) {
    await base.device.resize(sizeBytes);
    return base;
  }
  base.file.truncate(sizeBytes);
  await base.file.flush();
  // A raw device is as long as its file was when it was opened.
  return { ...base, device: openRawDevice(base.file, { writable: true }) };
}

/**
 * Copies what the images above a base have into it.
 *
 * @param step told how far it is, 0 to 1; what it throws ends it.
 */
export async function copyAbove(
  above: readonly ChainLayer[],
  base: OpenedImage,
  step: (fraction: number) => void,
): Promise<void> {
  const top = above[0]?.device;
  if (!top) return;
  const buffer = new Uint8Array(BUFFER_BYTES);
  for (let at = 0; at < top.sizeBytes; ) {
    step(at / top.sizeBytes);
    const { kind, lengthBytes } = await nextPiece(above, at);
    if (kind === "zero") await base.device.writeZeroes(at, lengthBytes, { unmap: true });
    if (kind === "data") {
      const bytes = buffer.subarray(0, lengthBytes);
      await top.read(at, bytes);
      await base.device.write(at, bytes);
    }
    if (base.device.dirtyBytes >= FLUSH_BYTES) await base.device.flush();
    at += lengthBytes;
  }
  await base.device.flush();
}

async function nextPiece(
  above: readonly ChainLayer[],
  at: number,
): Promise<{ kind: "data" | "zero" | "behind"; lengthBytes: number }> {
  let lengthBytes = Math.min(BUFFER_BYTES, (above[0]?.device.sizeBytes ?? 0) - at);
  for (const { device } of above) {
    // A shorter image in between hides what is behind it.
    if (at >= device.sizeBytes) return { kind: "zero", lengthBytes };
    const status = await device.blockStatus(at, Math.min(lengthBytes, device.sizeBytes - at));
    lengthBytes = status.lengthBytes;
    if (status.allocated) return { kind: status.zero ? "zero" : "data", lengthBytes };
  }
  return { kind: "behind", lengthBytes };
}
