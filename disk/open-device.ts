import type { BlockDevice } from "./block-device.ts";
import type { BlockFile } from "./block-file.ts";
import { ByreError } from "./errors.ts";
import { type OpenQcow2Options, openQcow2, probeImage } from "./qcow2/open.ts";
import { openRawDevice } from "./raw/raw-device.ts";

/**
 * The image formats a device is opened as. "qcow3-2008" is the metadata image of 2008: read-only, and only
 * when named, since a damaged qcow2 image may look like one.
 */
export type ImageFormat = "qcow2" | "raw" | "qcow3-2008";

export interface OpenDeviceOptions extends OpenQcow2Options {
  /**
   * What the file is. Left out, a qcow2 image is known by its first bytes and all else is refused for
   * writing: a guest can put any bytes at the start of its raw disk.
   */
  format?: ImageFormat;
  /** Id or name of an internal snapshot: the device is a read-only view of the disk as it was then. */
  snapshot?: string;
}

/**
 * Opens a disk image as a device, whatever its format.
 *
 * @param file owned by the device from now on: closed with it, and closed here when opening fails.
 * @throws ByreError as `openQcow2`; INVALID_ARGUMENT for a raw file to be written without `format: "raw"`;
 *   SNAPSHOT_NOT_FOUND.
 */
export async function openDevice(file: BlockFile, options: OpenDeviceOptions = {}): Promise<BlockDevice> {
  const { format, snapshot, ...rest } = options;
  if (format === "qcow3-2008") return open2008(file, snapshot, rest);
  const writable = snapshot === undefined && (options.writable ?? file.writable);
  try {
    const isQcow2 = format === undefined ? (await probeImage(file)) === "qcow2" : format === "qcow2";
    if (!isQcow2) return openRaw(file, { format, snapshot, writable });
  } catch (error) {
    await file.close();
    throw error;
  }
  const device = await openQcow2(file, { ...rest, writable });
  if (snapshot === undefined) return device;
  try {
    return await device.openSnapshot(snapshot, { owning: true });
  } catch (error) {
    await device.close();
    throw error;
  }
}

async function open2008(
  file: BlockFile,
  snapshot: string | undefined,
  options: OpenQcow2Options,
): Promise<BlockDevice> {
  const { open2008Image } = await import("./qcow2/metadata-2008.ts");
  const { device } = await open2008Image(file, options);
  return snapshot === undefined ? device : device.openSnapshot(snapshot, { owning: true });
}

function openRaw(
  file: BlockFile,
  options: { format: ImageFormat | undefined; snapshot: string | undefined; writable: boolean },
): BlockDevice {
  if (options.snapshot !== undefined)
    throw new ByreError("SNAPSHOT_NOT_FOUND", `${file.name} is a raw image, which has no snapshots.`, {
      file: file.name,
      snapshot: options.snapshot,
    });
  if (options.writable && options.format !== "raw")
    throw new ByreError(
      "INVALID_ARGUMENT",
      `${file.name} is not a qcow2 image. To write to it as a raw one, say so: a guest can put any bytes at the ` +
        "start of its raw disk, so the format of what is written is never guessed.",
      { file: file.name },
    );
  return openRawDevice(file, { writable: options.writable });
}
