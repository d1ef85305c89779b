import { neededTableEntries } from "./bitmaps.ts";
import { type CheckedImage, MAX_FILE_BYTES } from "./check-image.ts";
import {
  checkL1Tables,
  countTableClusters,
  type L1Check,
  type L1Findings,
  type L1Table,
  l1Target,
  MAX_LINES,
  scanEntries,
  tellL1Entry,
} from "./check-l1.ts";
import { layerRanges } from "./check-ranges.ts";
import { isUnalignedBlock, refcountBlockOffset, refcountTableEntries } from "./check-refcounts.ts";
import { type CheckedSnapshots, readSnapshotEntry } from "./check-snapshots.ts";
import { checkFailed, hex64 } from "./check-tally.ts";
import { ENTRY_BYTES, MAX_L1_BYTES } from "./format.ts";

const TWO_32 = 2 ** 32;
/** Bytes of L1 tables up to which the report keeps QEMU's order; past it, the file's order. */
const MAX_ORDERED_BYTES = 16 * 1024 * 1024;
const BLOCK_RESERVED_LO = 0x1ff;
const BITMAP_RESERVED_HI = 0xff000000;
const BITMAP_RESERVED_LO = 0x1fe;

/** What counting the references found, besides the counts. */
export interface ReferenceFindings extends L1Findings {
  /** The refcount structures cannot be mended where they are. */
  rebuild: boolean;
  /** Indexes of refcount blocks that stand past the end of the file. */
  readonly outsideBlocks: readonly number[];
}

/**
 * Counts every reference in the image: header, active tables, snapshots, refcount structures, encryption
 * header, bitmaps. Findings go to the tally and, in QEMU's order, to the report.
 *
 * @throws ByreError CHECK_FAILED where QEMU gives up too.
 */
export async function countReferences(
  check: L1Check,
  snapshots: CheckedSnapshots,
): Promise<ReferenceFindings> {
  const { image, counter, tally, context } = check;
  const { clusterSizeBytes } = image;
  const say = context.report;
  counter.countRange(0, clusterSizeBytes, 1, say);
  const tables = listL1Tables(check, snapshots);
  const findings = await checkL1Tables(check, tables);
  if (say) await tellInOrder(check, snapshots, findings);
  counter.countRange(image.snapshotsOffsetBytes, snapshots.lengthBytes, 1, say);
  counter.countRange(image.refcountTableOffsetBytes, image.refcountTable.byteLength, 1, say);
  if (image.encryptionHeader)
    counter.countRange(image.encryptionHeader.offsetBytes, image.encryptionHeader.lengthBytes, 1, say);
  await countBitmaps(check);

  const repair = context.mode === "all" && check.writeEntry !== undefined;
  const outsideBlocks: number[] = [];
  let rebuild = false;
  for (let index = 0; index < refcountTableEntries(image); index++) {
    const lo = image.refcountTable.getUint32(index * ENTRY_BYTES + 4);
    const offset = refcountBlockOffset(image, index);
    if (lo & BLOCK_RESERVED_LO) {
      tally.corruptions++;
      rebuild = true;
      say?.(`ERROR refcount table entry ${index} has reserved bits set`);
      continue;
    }
    if (offset === 0) continue;
    if (isUnalignedBlock(image, index)) {
      tally.corruptions++;
      rebuild = true;
      say?.(`ERROR refcount block ${index} is not cluster aligned; refcount table entry corrupted`);
      continue;
    }
    const cluster = offset / clusterSizeBytes;
    if (cluster >= counter.clusters) {
      say?.(`${repair ? "Repairing" : "ERROR"} refcount block ${index} is outside image`);
      if (!repair) tally.corruptions++;
      else if (cluster >= MAX_CLUSTERS) {
        tally.corruptions++;
        rebuild = true;
      } else {
        tally.corruptionsFixed++;
        outsideBlocks.push(index);
      }
      continue;
    }
    counter.countCluster(cluster, 1);
    const count = counter.counts.get(cluster);
    if (count !== 1) {
      tally.corruptions++;
      rebuild = true;
      say?.(`ERROR refcount block ${index} refcount=${count}`);
    }
  }
  return { ...findings, rebuild, outsideBlocks };
}

/** QEMU counts no more clusters in one image. */
export const MAX_CLUSTERS = 2 ** 31 - 1;

/** The L1 tables that can be counted; the others are told of and left out. */
function listL1Tables(check: L1Check, snapshots: CheckedSnapshots): L1Table[] {
  const { image, tally } = check;
  const tables: L1Table[] = [{ offsetBytes: image.l1OffsetBytes, entries: image.l1Entries, active: true }];
  for (let index = 0; index < snapshots.count; index++) {
    const entries = snapshots.l1Entries[index] ?? 0;
    if (isBadSnapshot(image, snapshots, index)) {
      tally.corruptions++;
      continue;
    }
    const offsetBytes = snapshotL1Offset(snapshots, index);
    if (entries === 0) continue;
    if (offsetBytes + entries * ENTRY_BYTES > MAX_FILE_BYTES) {
      tally.checkErrors++;
      check.context.report?.("ERROR: I/O error in check_refcounts_l1");
      throw checkFailed(
        image.file.name,
        `the L1 table of snapshot ${index} cannot be read`,
        "Input/output error",
      );
    }
    tables.push({ offsetBytes, entries, active: false });
  }
  return tables;
}

export function snapshotL1Offset(snapshots: CheckedSnapshots, index: number): number {
  return (snapshots.l1OffsetHi[index] ?? 0) * TWO_32 + (snapshots.l1OffsetLo[index] ?? 0);
}

/** Whether a snapshot's L1 table is misplaced or too large: it is not looked at then. */
export function isBadSnapshot(image: CheckedImage, snapshots: CheckedSnapshots, index: number): boolean {
  return (
    (snapshots.l1OffsetLo[index] ?? 0) % image.clusterSizeBytes !== 0 ||
    (snapshots.l1Entries[index] ?? 0) * ENTRY_BYTES > MAX_L1_BYTES
  );
}

/** Tells of the L1 and L2 tables in the order in which QEMU comes by them. */
async function tellInOrder(check: L1Check, snapshots: CheckedSnapshots, findings: L1Findings): Promise<void> {
  const { image, counter, context } = check;
  const { report } = context;
  if (!report) return;
  let lines = 0;
  // A few tables that thousands of snapshots share can make lines without end.
  const say = (line: string) => {
    if (lines++ < MAX_LINES) report(line);
  };
  const tables = (offset: number) => {
    const told = findings.tableLines.get(offset);
    if (told) told.forEach(say);
  };
  let budget = MAX_ORDERED_BYTES;
  const tellTable = async (offsetBytes: number, entries: number) => {
    if (entries === 0) return;
    const bytes = entries * ENTRY_BYTES;
    if (counter.isBeyond(offsetBytes, bytes))
      say(
        "ERROR: counting reference for region exceeding the end of the file by one cluster or more: " +
          `offset 0x${offsetBytes.toString(16)} size 0x${bytes.toString(16)}`,
      );
    if (!findings.anyLines || budget <= 0 || lines >= MAX_LINES) return;
    const end = Math.min(offsetBytes + bytes, image.file.sizeBytes);
    budget -= Math.max(0, end - offsetBytes);
    await scanEntries(image.file, offsetBytes, end, (hi, lo) => {
      if (lines >= MAX_LINES) return;
      tellL1Entry(image, counter, hi, lo, say);
      tables(l1Target(hi, lo));
    });
  };
  await tellTable(image.l1OffsetBytes, image.l1Entries);
  for (let index = 0; index < snapshots.count; index++) {
    if (isBadSnapshot(image, snapshots, index)) say(await badSnapshotLine(image, snapshots, index));
    else await tellTable(snapshotL1Offset(snapshots, index), snapshots.l1Entries[index] ?? 0);
  }
  if (budget <= 0) for (const told of findings.tableLines.values()) told.forEach(say);
}

/** Tells of wrong COPIED flags in the order of the active tables. */
export async function tellCopiedFlags(check: L1Check, findings: L1Findings): Promise<void> {
  const { image, context, stored } = check;
  const say = context.report;
  if (!say || !stored || findings.copiedErrors === 0) return;
  const start = image.l1OffsetBytes;
  const end = Math.min(start + image.l1Entries * ENTRY_BYTES, image.file.sizeBytes);
  await scanEntries(image.file, start, end, (hi, lo, at) => {
    const target = l1Target(hi, lo);
    if (target === 0) return;
    const cluster = Math.floor(target / image.clusterSizeBytes);
    const count = stored.countOf(cluster);
    if (Number.isNaN(count)) return;
    if ((count === 1) !== hi >>> 31 > 0)
      say(copiedTableLine((at - start) / ENTRY_BYTES, hi, lo, stored.print(cluster, count), "ERROR"));
    for (const line of findings.copiedLines.get(target) ?? []) say(line);
  });
}

/** The report's line for a wrong COPIED flag in an L1 entry. */
export function copiedTableLine(
  index: number,
  hi: number,
  lo: number,
  count: string,
  word: "ERROR" | "Repairing",
): string {
  return `${word} OFLAG_COPIED L2 cluster: l1_index=${index} l1_entry=${hex64(hi, lo)} refcount=${count}`;
}

async function badSnapshotLine(
  image: CheckedImage,
  snapshots: CheckedSnapshots,
  index: number,
): Promise<string> {
  const entry = await readSnapshotEntry(image, snapshots, index);
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  const lo = snapshots.l1OffsetLo[index] ?? 0;
  const which = `ERROR snapshot ${text(entry.id)} (${text(entry.name)})`;
  return lo % image.clusterSizeBytes !== 0
    ? `${which} l1_offset=0x${hex64(snapshots.l1OffsetHi[index] ?? 0, lo)}: L1 table is not cluster aligned; ` +
        "snapshot table entry corrupted"
    : `${which} l1_size=0x${(snapshots.l1Entries[index] ?? 0).toString(16)}: L1 table is too large; ` +
        "snapshot table entry corrupted";
}

/** Counts the bitmap directory, the tables it points to, and their clusters. */
async function countBitmaps(check: L1Check): Promise<void> {
  const { image, counter, tally, context } = check;
  const { bitmapDirectory, bitmaps, clusterSizeBytes, file } = image;
  if (!bitmapDirectory) return;
  counter.countRange(bitmapDirectory.offsetBytes, bitmapDirectory.lengthBytes, 1, context.report);
  for (const bitmap of bitmaps) {
    if (!bitmap.inUse && bitmap.tableEntries !== neededTableEntries(bitmap, image.header))
      throw checkFailed(
        file.name,
        `the bitmap "${bitmap.name}" is not of the disk's size`,
        "Invalid argument",
      );
  }
  countTableClusters(
    check,
    bitmaps.map(({ tableOffsetBytes, tableEntries }) => ({
      offsetBytes: tableOffsetBytes,
      entries: tableEntries,
      active: true,
    })),
    context.report,
  );
  const pieces = layerRanges(
    bitmaps.map(({ tableOffsetBytes, tableEntries }) => ({
      start: tableOffsetBytes,
      end: Math.min(tableOffsetBytes + tableEntries * ENTRY_BYTES, file.sizeBytes),
      active: 1,
      inactive: 0,
    })),
  );
  for (const { start, end, active } of pieces)
    await scanEntries(file, start, end, (hi, lo, at) => {
      const offset = l1Target(hi, lo);
      const misplaced = offset !== 0 && ((lo & 1) !== 0 || (lo & 0xfffffe00 & (clusterSizeBytes - 1)) !== 0);
      if (hi & BITMAP_RESERVED_HI || lo & BITMAP_RESERVED_LO || misplaced) {
        tally.corruptions++;
        throw checkFailed(file.name, `the bitmap table entry at offset ${at} is damaged`, "Invalid argument");
      }
      if (offset !== 0) counter.countRange(offset, clusterSizeBytes, active, context.report);
    });
}
