import { WriteStage } from "../block-file.ts";
import { type CheckedImage, readPadded } from "./check-image.ts";
import { l1Target, scanEntries } from "./check-l1.ts";
import { copiedDataLine } from "./check-l2.ts";
import { Metadata, type MetadataMap } from "./check-overlap.ts";
import type { StoredCounts } from "./check-refcounts.ts";
import { copiedTableLine } from "./check-references.ts";
import { type CheckContext, checkFailed, createBreather, type Tally } from "./check-tally.ts";
import { ENTRY_BYTES } from "./format.ts";
import { isCompressed } from "./l2-entry.ts";
import type { RepairWriter } from "./repair-writer.ts";
import { viewOf } from "./u64.ts";

const TWO_32 = 2 ** 32;
const COPIED_HI = 0x80000000;

/**
 * Holds the COPIED flags of the active tables against refcounts that are sound on disk, and sets them right.
 *
 * @param repair false: they are only counted.
 * @param metadata where other structures are: a flag that stands in one of them cannot be repaired.
 * @throws ByreError CHECK_FAILED when a table lies over other metadata.
 */
export async function repairCopiedFlags(
  writer: RepairWriter,
  image: CheckedImage,
  stored: StoredCounts,
  metadata: MetadataMap,
  repair: boolean,
  tally: Tally,
  context: CheckContext,
): Promise<void> {
  const { clusterSizeBytes, file } = image;
  const { report } = context;
  const word = repair ? "Repairing" : "ERROR";
  const breathe = createBreather(file.name, context);
  const entries: { hi: number; lo: number; at: number }[] = [];
  const table = new Uint8Array(clusterSizeBytes);
  // Piece by piece, since an L1 table has up to 4 million entries.
  const end = image.l1OffsetBytes + image.l1Entries * ENTRY_BYTES;
  const pieceBytes = 4096 * ENTRY_BYTES;
  for (let start = image.l1OffsetBytes; start < Math.min(end, file.sizeBytes); start += pieceBytes) {
    entries.length = 0;
    await scanEntries(file, start, Math.min(end, start + pieceBytes), (hi, lo, at) => {
      if (l1Target(hi, lo) !== 0) entries.push({ hi, lo, at });
    });
    for (const { hi, lo, at } of entries) {
      const target = l1Target(hi, lo);
      const count = stored.countOf(Math.floor(target / clusterSizeBytes));
      // Its refcount block cannot be read; the entry is left alone, as are those behind it.
      if (Number.isNaN(count)) continue;
      if ((count === 1) !== hi >>> 31 > 0) {
        const index = (at - image.l1OffsetBytes) / ENTRY_BYTES;
        const text = stored.print(Math.floor(target / clusterSizeBytes), count);
        report?.(copiedTableLine(index, hi, lo, text, word));
        if (!repair) tally.corruptions++;
        else {
          if (metadata.overlaps(at, ENTRY_BYTES, Metadata.ACTIVE_L1)) throw overlap(file.name, "L1", at);
          const entry = new Uint8Array(4);
          viewOf(entry).setUint32(0, withCopied(hi, count === 1));
          await writer.put(at, entry, WriteStage.L1);
          tally.corruptionsFixed++;
        }
      }
      if (target >= file.sizeBytes) continue;
      await readPadded(file, target, table);
      const fixed = fixTable(image, viewOf(table), stored, repair, word, report);
      if (!repair) tally.corruptions += fixed.errors;
      else if (fixed.errors > 0) {
        if (metadata.overlaps(target, clusterSizeBytes, Metadata.ACTIVE_L2)) {
          tally.checkErrors++;
          report?.("ERROR: Could not write L2 table; metadata overlap check failed: Input/output error");
          throw overlap(file.name, "L2", target);
        }
        const part = table.subarray(fixed.start, Math.min(fixed.end, file.sizeBytes - target));
        await writer.put(target + fixed.start, part, WriteStage.L2);
        tally.corruptionsFixed += fixed.errors;
      }
      await breathe();
    }
  }
  await writer.flush();
}

/** Sets the flags of one L2 table right, in memory. @returns how many were wrong, and the bytes they span. */
function fixTable(
  image: CheckedImage,
  table: DataView,
  stored: StoredCounts,
  repair: boolean,
  word: "ERROR" | "Repairing",
  report: ((line: string) => void) | undefined,
): { errors: number; start: number; end: number } {
  const perByte = 1 / image.clusterSizeBytes;
  let errors = 0;
  let start = image.clusterSizeBytes;
  let end = 0;
  for (let at = 0; at < table.byteLength; at += image.l2EntryBytes) {
    const hi = table.getUint32(at);
    const lo = table.getUint32(at + 4);
    if (isCompressed(hi)) continue;
    const offset = l1Target(hi, lo);
    if (offset === 0) continue;
    const cluster = Math.floor(offset * perByte);
    const count = stored.countOf(cluster);
    if ((count === 1) === hi >>> 31 > 0 || Number.isNaN(count)) continue;
    errors++;
    report?.(copiedDataLine(hi, lo, stored.print(cluster, count), word));
    if (!repair) continue;
    table.setUint32(at, withCopied(hi, count === 1));
    start = Math.min(start, at);
    end = at + 4;
  }
  return { errors, start, end };
}

function withCopied(hi: number, copied: boolean): number {
  return copied ? (hi | COPIED_HI) >>> 0 : hi % (TWO_32 / 2);
}

function overlap(fileName: string, what: string, offsetBytes: number) {
  return checkFailed(
    fileName,
    `the ${what} table at offset ${offsetBytes} lies over other metadata and cannot be written`,
    "Input/output error",
  );
}
