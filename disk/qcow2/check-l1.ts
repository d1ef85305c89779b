import type { BlockFile } from "../block-file.ts";
import type { ReferenceCounter, Say } from "./check-counter.ts";
import { type CheckedImage, readPadded } from "./check-image.ts";
import { checkL2Table, type L2Check, zeroL2Entry } from "./check-l2.ts";
import { indexInSorted, layerRanges, NumberList, type WeightedRange } from "./check-ranges.ts";
import type { StoredCounts } from "./check-refcounts.ts";
import { type CheckContext, createBreather, hex64, type Tally } from "./check-tally.ts";
import { ENTRY_BYTES } from "./format.ts";
import { viewOf } from "./u64.ts";

/** An L1 table that is to be counted. */
export interface L1Table {
  readonly offsetBytes: number;
  readonly entries: number;
  readonly active: boolean;
}

export interface L1Check {
  readonly image: CheckedImage;
  readonly counter: ReferenceCounter;
  readonly tally: Tally;
  readonly context: CheckContext;
  /** To hold COPIED flags against in the same pass; undefined when they are checked later. */
  readonly stored: StoredCounts | undefined;
  /**
   * Writes an L2 entry that is repaired, or throws when the table lies over other metadata. Undefined when
   * nothing is to be repaired.
   */
  readonly writeEntry:
    | ((tableOffset: number, active: boolean, at: number, entry: Uint8Array) => void)
    | undefined;
}

/** What the L1 and L2 tables led to, besides counts. */
export interface L1Findings {
  /** Wrong COPIED flags in the active tables. */
  readonly copiedErrors: number;
  /** Lines about L2 tables, by the table's offset. */
  readonly tableLines: ReadonlyMap<number, readonly string[]>;
  readonly copiedLines: ReadonlyMap<number, readonly string[]>;
  /** Whether anything is to be told of the L1 tables or what they point to. */
  readonly anyLines: boolean;
}

const TWO_32 = 2 ** 32;
/** Bytes of a table that are read at once. */
const PIECE_BYTES = 1024 * 1024;
/** L2 tables no further apart are read together: about what a seek costs. */
const GAP_BYTES = 64 * 1024;
/** Lines that are kept; an image with more damage than this is told of in part. */
export const MAX_LINES = 100_000;
const OFFSET_HI_MASK = 0x00ffffff;
const OFFSET_LO_MASK = 0xfffffe00;
const RESERVED_HI = 0x7f000000;
const RESERVED_LO = 0x1ff;

/** Where an L1 entry points to, in bytes; 0 when nowhere. */
export function l1Target(hi: number, lo: number): number {
  return (hi & OFFSET_HI_MASK) * TWO_32 + ((lo & OFFSET_LO_MASK) >>> 0);
}

/**
 * Counts what all L1 tables refer to: themselves, L2 tables, and clusters.
 *
 * Each place of the file is read once, however many snapshots share it or claim to; so the time goes with
 * the size of the file and not with what its tables claim.
 */
export async function checkL1Tables(check: L1Check, tables: readonly L1Table[]): Promise<L1Findings> {
  const { image, counter, tally, context, stored } = check;
  const silent = context.report === undefined;
  let copiedErrors = 0;
  let anyL1Lines = false;
  const corruptionsBefore = tally.corruptions;
  countTableClusters(check, tables);

  const pieces = layerRanges(
    tables.map(({ offsetBytes, entries, active }) => ({
      start: offsetBytes,
      end: Math.min(offsetBytes + entries * ENTRY_BYTES, image.file.sizeBytes),
      active: active ? 1 : 0,
      inactive: active ? 0 : 1,
    })),
  );
  const perByte = 1 / image.clusterSizeBytes;
  const targets = new NumberList();
  for (const piece of pieces)
    await scanEntries(image.file, piece.start, piece.end, (hi, lo) => {
      const target = l1Target(hi, lo);
      const times = piece.active + piece.inactive;
      targets.push(target);
      if (hi & RESERVED_HI || lo & RESERVED_LO) tally.corruptions += times;
      counter.countRange(target, image.clusterSizeBytes, times, undefined);
      if ((lo & OFFSET_LO_MASK & (image.clusterSizeBytes - 1)) !== 0) tally.corruptions += times;
      if (piece.active === 0 || stored === undefined || target === 0) return;
      const count = stored.countOf(Math.floor(target * perByte));
      if ((count === 1) !== hi >>> 31 > 0 && !Number.isNaN(count)) copiedErrors += piece.active;
    });
  anyL1Lines = tally.corruptions > corruptionsBefore;

  const found = targets.length;
  const inOrder = targets.sortedUnique();
  const onlyActive = pieces.every(({ active, inactive }) => active === 1 && inactive === 0);
  const weights =
    onlyActive && inOrder.length === found ? undefined : await weigh(image.file, pieces, inOrder);
  const tableLines = new Map<number, string[]>();
  const copiedLines = new Map<number, string[]>();
  let kept = 0;
  const keep = (lines: Map<number, string[]>, offset: number) => (line: string) => {
    if (kept++ >= MAX_LINES) return;
    const list = lines.get(offset);
    if (list) list.push(line);
    else lines.set(offset, [line]);
  };
  const l2: L2Check = {
    image,
    counter,
    tally,
    fix: check.writeEntry !== undefined,
    stored,
    copiedErrors: 0,
  };
  await readTables(check, inOrder, (table, offset, index) => {
    const active = weights ? (weights.active[index] ?? 0) : 1;
    const fixes = checkL2Table(l2, table, {
      offsetBytes: offset,
      active,
      inactive: weights ? (weights.inactive[index] ?? 0) : 0,
      flags: offset !== 0 && !Number.isNaN(stored?.countOf(Math.floor(offset * perByte)) ?? 0),
      say: silent ? undefined : keep(tableLines, offset),
      sayCopied: silent ? undefined : keep(copiedLines, offset),
    });
    return fixes && zeroEntries(check, table, offset, active > 0, fixes);
  });
  return {
    copiedErrors: copiedErrors + l2.copiedErrors,
    tableLines,
    copiedLines,
    anyLines: anyL1Lines || tableLines.size > 0,
  };
}

async function zeroEntries(
  check: L1Check,
  table: DataView,
  offsetBytes: number,
  active: boolean,
  entries: readonly number[],
): Promise<void> {
  const { l2EntryBytes } = check.image;
  for (const entry of entries) {
    zeroL2Entry(table, entry, l2EntryBytes);
    const at = entry * l2EntryBytes;
    const bytes = new Uint8Array(table.buffer, table.byteOffset + at, l2EntryBytes);
    await check.writeEntry?.(offsetBytes, active, at, bytes);
    check.tally.corruptionsFixed++;
  }
}

/** Tells of one L1 entry; what there is to tell of the table it points to comes after. */
export function tellL1Entry(
  image: CheckedImage,
  counter: ReferenceCounter,
  hi: number,
  lo: number,
  say: (line: string) => void,
): void {
  if (hi & RESERVED_HI || lo & RESERVED_LO)
    say(`ERROR found L1 entry with reserved bits set: ${hex64(hi, lo)}`);
  const target = l1Target(hi, lo);
  if (counter.isBeyond(target, image.clusterSizeBytes))
    say(
      "ERROR: counting reference for region exceeding the end of the file by one cluster or more: " +
        `offset 0x${target.toString(16)} size 0x${image.clusterSizeBytes.toString(16)}`,
    );
  if ((lo & OFFSET_LO_MASK & (image.clusterSizeBytes - 1)) !== 0)
    say(`ERROR l2_offset=${target.toString(16)}: Table is not cluster aligned; L1 entry corrupted`);
}

/** Calls `visit` for every 8-byte entry that is not 0 in a part of the file. */
export async function scanEntries(
  file: BlockFile,
  start: number,
  end: number,
  visit: (hi: number, lo: number, offsetBytes: number) => void,
): Promise<void> {
  const buffer = new Uint8Array(Math.min(PIECE_BYTES, Math.max(0, Math.ceil((end - start) / 8) * 8)));
  const words = new Uint32Array(buffer.buffer);
  const view = viewOf(buffer);
  for (let at = start; at < end; at += buffer.length) {
    const bytes = Math.min(buffer.length, Math.ceil((end - at) / ENTRY_BYTES) * ENTRY_BYTES);
    await readPadded(file, at, buffer.subarray(0, bytes));
    for (let word = 0; word < bytes / 4; word += 2)
      if (((words[word] ?? 0) | (words[word + 1] ?? 0)) !== 0)
        visit(view.getUint32(word * 4), view.getUint32(word * 4 + 4), at + word * 4);
  }
}

/**
 * Counts the clusters that tables themselves take; each cluster once, however many tables claim it.
 *
 * @param say is told of tables past the end of the file.
 */
export function countTableClusters(check: L1Check, tables: readonly L1Table[], say?: Say): void {
  const { counter, image } = check;
  const ranges: WeightedRange[] = [];
  for (const { offsetBytes, entries, active } of tables) {
    if (entries === 0) continue;
    const bytes = entries * ENTRY_BYTES;
    if (counter.isBeyond(offsetBytes, bytes)) {
      counter.complainBeyond(offsetBytes.toString(16), bytes, 1, say);
      continue;
    }
    ranges.push({
      start: offsetBytes / image.clusterSizeBytes,
      end: Math.floor((offsetBytes + bytes - 1) / image.clusterSizeBytes) + 1,
      active: active ? 1 : 0,
      inactive: active ? 0 : 1,
    });
  }
  for (const { start, end, active, inactive } of layerRanges(ranges))
    for (let cluster = start; cluster < end; cluster++) counter.countCluster(cluster, active + inactive);
}

/** How often each L2 table is pointed to. */
async function weigh(
  file: BlockFile,
  pieces: readonly WeightedRange[],
  tables: Float64Array,
): Promise<{ active: Float64Array; inactive: Float64Array }> {
  const active = new Float64Array(tables.length);
  const inactive = new Float64Array(tables.length);
  for (const piece of pieces)
    await scanEntries(file, piece.start, piece.end, (hi, lo) => {
      const index = indexInSorted(tables, l1Target(hi, lo));
      active[index] = (active[index] ?? 0) + piece.active;
      inactive[index] = (inactive[index] ?? 0) + piece.inactive;
    });
  return { active, inactive };
}

/** Reads L2 tables in the file's order, neighbours together. */
async function readTables(
  check: L1Check,
  offsets: Float64Array,
  visit: (table: DataView, offsetBytes: number, index: number) => Promise<void> | undefined,
): Promise<void> {
  const { image, context } = check;
  const { clusterSizeBytes, file } = image;
  const breathe = createBreather(file.name, context);
  const buffer = new Uint8Array(Math.max(PIECE_BYTES, clusterSizeBytes));
  for (let index = 0; index < offsets.length; ) {
    const start = offsets[index] ?? 0;
    let end = start + clusterSizeBytes;
    let next = index + 1;
    for (; next < offsets.length; next++) {
      const offset = offsets[next] ?? 0;
      if (offset > end + GAP_BYTES || offset + clusterSizeBytes > start + buffer.length) break;
      end = offset + clusterSizeBytes;
    }
    // Past the end of the file a table reads as zeros, which refer to nothing.
    if (start < file.sizeBytes) {
      await readPadded(file, start, buffer.subarray(0, end - start));
      for (let i = index; i < next; i++) {
        const offset = offsets[i] ?? 0;
        const repair = visit(new DataView(buffer.buffer, offset - start, clusterSizeBytes), offset, i);
        if (repair) await repair;
      }
    }
    index = next;
    context.onProgress?.(index / offsets.length);
    await breathe();
  }
}
