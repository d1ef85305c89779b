import { ByreError } from "../errors.ts";
import type { Qcow2Core } from "./core.ts";
import { ENTRY_BYTES, MAX_L1_BYTES } from "./format.ts";
import type { Qcow2Image } from "./image.ts";
import { untilReady } from "./needs.ts";
import { growL1 } from "./resize.ts";

/** Where VM state begins, as a guest offset: at the first L1 entry that the disk does not need. */
export function vmStateOffset(image: Qcow2Image): number {
  return Math.ceil(image.header.sizeBytes / image.l2ReachBytes) * image.l2ReachBytes;
}

/**
 * Reads VM state of the active image.
 *
 * @param offsetBytes from the state's beginning. What was never written reads as zeros.
 */
export async function readVmState(core: Qcow2Core, offsetBytes: number, target: Uint8Array): Promise<void> {
  const start = vmStateOffset(core.image) + offsetBytes;
  for (let done = 0; done < target.length; )
    done += await untilReady((needs) => core.reader.tryReadRun(start + done, target.subarray(done), needs));
}

/**
 * Writes VM state into the active image: past the disk's end, in the same tables. A snapshot taken with its
 * length keeps it.
 *
 * @throws ByreError TOO_LARGE when the tables would grow past what the format holds.
 */
export async function writeVmState(core: Qcow2Core, offsetBytes: number, data: Uint8Array): Promise<void> {
  const { image } = core;
  const start = vmStateOffset(image) + offsetBytes;
  const l1Entries = Math.ceil((start + data.length) / image.l2ReachBytes);
  if (l1Entries * ENTRY_BYTES > MAX_L1_BYTES)
    throw new ByreError(
      "TOO_LARGE",
      `${image.file.name}: VM state at ${offsetBytes} would make the L1 table larger than 32 MiB. Larger clusters reach further.`,
      { file: image.file.name, offsetBytes, l1Entries },
    );
  if (l1Entries > image.l1Entries) await growL1(core, l1Entries);
  for (let done = 0; done < data.length; )
    done += await untilReady((needs) => core.writer.tryWriteRun(start + done, data.subarray(done), needs));
}

/** Lets go of the active image's VM state: a snapshot has it now, and the next one would only copy it. */
export async function dropVmState(core: Qcow2Core, lengthBytes: number): Promise<void> {
  const { image, zeros } = core;
  const start = vmStateOffset(image);
  const end = start + Math.ceil(lengthBytes / image.clusterSizeBytes) * image.clusterSizeBytes;
  for (let at = start; at < end; )
    at += await untilReady((needs) => zeros.tryDiscardRun(at, end - at, false, needs));
  await core.flush();
}
