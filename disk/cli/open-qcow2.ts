import type { Qcow2Device } from "../qcow2/qcow2-device.ts";
import { ExitCode, ExitError } from "./exit.ts";
import { type OpenImageOptions, openImage } from "./open-image.ts";

/**
 * Opens an image for what only qcow2 can do.
 *
 * @param otherwise what to say of an image of another format.
 * @throws ExitError with that; else as `openImage`.
 */
export async function openQcow2Image(
  spec: string,
  options: OpenImageOptions,
  otherwise: string,
): Promise<Qcow2Device> {
  const { device, format } = await openImage(spec, options);
  if (format === "qcow2") return device as Qcow2Device;
  await device.close();
  throw new ExitError(ExitCode.FAILED, otherwise);
}
