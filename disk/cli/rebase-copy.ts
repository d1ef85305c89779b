import { realpathSync } from "node:fs";
import type { BlockDevice } from "../block-device.ts";
import type { Qcow2Device } from "../qcow2/qcow2-device.ts";
import { ExitCode, ExitError } from "./exit.ts";
import type { FileSpec } from "./image-spec.ts";
import { chainOf } from "./map-chain.ts";
import { backingSpec } from "./open-file.ts";
import { type OpenedImage, openImage } from "./open-image.ts";

/** As much as QEMU compares at a time. */
const BUFFER_BYTES = 2 * 1024 * 1024;
const SECTOR_BYTES = 512;
/** What is written stays in memory until a flush. */
const FLUSH_BYTES = 32 * 1024 * 1024;

/**
 * Opens what an image is to be put over, with what is behind it in turn, to read.
 *
 * @throws ExitError when it is not there, or is the image itself or something over it.
 */
export async function openNewBacking(
  overlay: OpenedImage,
  overlayFile: FileSpec,
  backing: { name: string; format: string | undefined },
): Promise<BlockDevice> {
  const { name, format } = backing;
  const spec = imageName(backingSpec(overlayFile, name), name);
  const couldNot = (why: string) =>
    new ExitError(ExitCode.FAILED, `Could not open new backing file '${name}': ${why}`);
  let device: BlockDevice;
  try {
    if (isOverlay(backingSpec(overlayFile, name), overlayFile)) throw couldNot("it is the image itself");
    ({ device } = await openImage(spec, { format }));
  } catch (error) {
    if (error instanceof ExitError && error.message.startsWith("Could not open new")) throw error;
    throw couldNot(error instanceof Error ? error.message : String(error));
  }
  const layers = await chainOf(device, spec, { format });
  for (const { holes } of layers) holes?.close();
  if (!layers.some(({ path }) => path !== undefined && isOverlay({ kind: "path", path }, overlayFile)))
    return device;
  await device.close();
  throw couldNot(`${overlay.filename} is behind it`);
}

/** A file by a name that means it, whatever is in its path. */
export function imageName(file: FileSpec, name: string): string {
  return file.kind === "path" ? `file:${file.path}` : name;
}

function isOverlay(file: FileSpec, overlay: FileSpec): boolean {
  if (file.kind !== "path" || overlay.kind !== "path") return false;
  try {
    return realpathSync(file.path) === realpathSync(overlay.path);
  } catch {
    return false;
  }
}

/**
 * Writes into an overlay what its old backing has and the new one has not, wherever the overlay has nothing
 * itself. What the overlay reads as stays the same throughout.
 *
 * @param target the new backing; undefined for none.
 * @param step told how far it is, 0 to 1; what it throws ends it.
 */
export async function writeDifferences(
  overlay: Qcow2Device,
  target: BlockDevice | undefined,
  step: (fraction: number) => void,
): Promise<void> {
  const old = overlay.backing;
  const oldBuffer = new Uint8Array(BUFFER_BYTES);
  const newBuffer = new Uint8Array(BUFFER_BYTES);
  const oldBytes = old?.sizeBytes ?? 0;
  for (let at = 0; at < overlay.sizeBytes; ) {
    step(at / overlay.sizeBytes);
    const status = await overlay.blockStatus(at, Math.min(BUFFER_BYTES, overlay.sizeBytes - at));
    let { lengthBytes } = status;
    if (!status.allocated) {
      if (at < oldBytes) lengthBytes = Math.min(lengthBytes, oldBytes - at);
      const before = oldBuffer.subarray(0, lengthBytes);
      const after = newBuffer.subarray(0, lengthBytes);
      await readPadded(old, at, before);
      await readPadded(target, at, after);
      for (const { start, end } of differences(before, after)) {
        if (at >= oldBytes) await overlay.writeZeroes(at + start, end - start);
        else await overlay.write(at + start, before.subarray(start, end));
      }
      if (overlay.dirtyBytes >= FLUSH_BYTES) await overlay.flush();
    }
    at += lengthBytes;
  }
  await overlay.flush();
}

/** Past the end of a disk there are zeros, as for an overlay that is longer than what is behind it. */
async function readPadded(device: BlockDevice | undefined, at: number, target: Uint8Array): Promise<void> {
  const present = Math.max(0, Math.min(target.length, (device?.sizeBytes ?? 0) - at));
  target.fill(0, present);
  if (present > 0) await device?.read(at, target.subarray(0, present));
}

/** Runs of whole sectors that differ. */
function* differences(before: Uint8Array, after: Uint8Array): Generator<{ start: number; end: number }> {
  if (Buffer.compare(before, after) === 0) return;
  const differs = (at: number): boolean =>
    at < before.length &&
    Buffer.compare(before.subarray(at, at + SECTOR_BYTES), after.subarray(at, at + SECTOR_BYTES)) !== 0;
  for (let start = 0; start < before.length; ) {
    let end = start;
    while (differs(end)) end += SECTOR_BYTES;
    if (end > start) yield { start, end: Math.min(end, before.length) };
    start = end + SECTOR_BYTES;
  }
}
