import type { BlockDevice } from "../block-device.ts";
import type { BlockFile } from "../block-file.ts";
import { ByreError } from "../errors.ts";
import { type BackingResolver, openQcow2 } from "../qcow2/open.ts";
import { openRawDevice } from "../raw/raw-device.ts";

interface OpenFormatOptions {
  format: "qcow2" | "raw" | "qcow3-2008";
  writable: boolean;
  backing?: "none";
  resolveBacking?: BackingResolver;
  password?: Uint8Array;
  snapshot?: string;
  onWarning?: (message: string) => void;
}

/** Opens a file as a format. Owns the file from then on, also when it fails. */
export async function openFormat(file: BlockFile, options: OpenFormatOptions): Promise<BlockDevice> {
  const { format, writable, resolveBacking } = options;
  if (format === "raw") return openRawDevice(file, { writable });
  if (format === "qcow2")
    return await openQcow2(file, { writable, ...(resolveBacking && { resolveBacking }) });
  throw new ByreError("UNSUPPORTED_FEATURE", `${file.name}: qcow3-2008 images are not read yet.`, {
    file: file.name,
  });
}
