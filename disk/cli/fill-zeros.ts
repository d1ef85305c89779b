import type { BlockFile } from "../block-file.ts";

/** Zeros written before the next flush, in bytes: what is written stays in memory until then. */
const FILL_BYTES = 4 * 1024 * 1024;

/** Takes space for a part of a file. Node cannot ask the host for it; writing zeros takes it as surely. */
export async function fillZeros(file: BlockFile, startBytes: number, endBytes: number): Promise<void> {
  for (let at = startBytes; at < endBytes; at += FILL_BYTES) {
    file.write(at, new Uint8Array(Math.min(FILL_BYTES, endBytes - at)));
    await file.flush();
  }
}
