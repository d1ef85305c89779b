/** Unit that zeros are looked for in at least: a sector, as everywhere in the command line. */
const SECTOR_BYTES = 512;

const ZEROS = Buffer.alloc(64 * 1024);

/**
 * Which parts of a buffer are to be written, when runs of zeros are to become holes: pairs of start and length
 * in bytes.
 *
 * A run of zeros shorter than `minZeroBytes` between two parts is written with them; and parts begin and end
 * at multiples of the largest power of two up to `minZeroBytes`, counted from the disk's start, so that a
 * write seldom touches a page only in part. Both as in QEMU's convert, so that a target has the same holes.
 *
 * @param bytes its length and `offsetBytes` are multiples of a sector, save at the disk's end.
 * @param offsetBytes where on the disk `bytes` begins.
 * @param minZeroBytes a multiple of a sector; 0 to write everything.
 */
export function findNonZeroRuns(bytes: Buffer, offsetBytes: number, minZeroBytes: number): number[] {
  if (minZeroBytes < SECTOR_BYTES) return bytes.length > 0 ? [0, bytes.length] : [];
  const unit = 2 ** Math.floor(Math.log2(minZeroBytes));
  const runs: number[] = [];
  let runStart = -1;
  let runEnd = -1;
  for (let at = 0; at < bytes.length; ) {
    const end = Math.min(bytes.length, at + unit - ((offsetBytes + at) % unit));
    if (!isZero(bytes, at, end)) {
      if (runStart < 0) runStart = at;
      else if (at - runEnd >= minZeroBytes) {
        runs.push(runStart, runEnd - runStart);
        runStart = at;
      }
      runEnd = end;
    }
    at = end;
  }
  if (runStart >= 0) runs.push(runStart, runEnd - runStart);
  return runs;
}

/** Whether a part of a buffer has zeros only. */
export function isZero(bytes: Buffer, start: number, end: number): boolean {
  if (start === end) return true;
  // What is not zero mostly shows it in its first byte or its middle; a call of memcmp costs 20 times as much.
  if (bytes[start] !== 0 || bytes[end - 1] !== 0 || bytes[(start + end) >>> 1] !== 0) return false;
  for (let at = start; at < end; at += ZEROS.length) {
    const length = Math.min(ZEROS.length, end - at);
    if (ZEROS.compare(bytes, at, at + length, 0, length) !== 0) return false;
  }
  return true;
}
