import { type CheckedImage, readPadded } from "./check-image.ts";
import { type CheckContext, checkFailed, type Tally } from "./check-tally.ts";
import { MAX_SNAPSHOT_TABLE_BYTES, MAX_SNAPSHOTS } from "./format.ts";
import { MAX_SNAPSHOT_EXTRA_BYTES } from "./snapshot-table.ts";
import { viewOf } from "./u64.ts";

/** The snapshot table as a check needs it: where the L1 tables are, and what is wrong with the entries. */
export interface CheckedSnapshots {
  /** Snapshots that stay. */
  readonly count: number;
  /** Snapshots past the limits, which a repair drops. */
  readonly dropped: number;
  /** Entries with more extra data than is allowed, which a repair cuts. */
  readonly cutExtra: number;
  /** Length of the table in bytes, without what was dropped. */
  readonly lengthBytes: number;
  /** Halves of the L1 tables' offsets, their entries, and where each snapshot's entry begins in the file. */
  readonly l1OffsetHi: Uint32Array;
  readonly l1OffsetLo: Uint32Array;
  readonly l1Entries: Uint32Array;
  readonly entryOffsetBytes: Float64Array;
}

const FIXED_BYTES = 40;
/** Extra data that is known: VM state size, disk size, instruction count. */
const KNOWN_EXTRA_BYTES = 24;
const V3_EXTRA_MIN_BYTES = 16;
const INT_MAX = 2 ** 31 - 1;
const WINDOW_BYTES = 256 * 1024;

/**
 * Reads the snapshot table for a check, with QEMU's limits; each entry only far enough to find the next.
 *
 * @throws ByreError CHECK_FAILED when the table is too large or misplaced and is not to be repaired.
 */
export async function readSnapshotsForCheck(
  image: CheckedImage,
  tally: Tally,
  context: CheckContext,
): Promise<CheckedSnapshots> {
  const { report } = context;
  const repair = context.mode === "all";
  let count = image.snapshotCount;
  let dropped = 0;
  if (count > MAX_SNAPSHOTS && repair) {
    dropped = count - MAX_SNAPSHOTS;
    report?.(`Discarding ${dropped} overhanging snapshots`);
    count = MAX_SNAPSHOTS;
  }
  const fail = (what: string, reason: string, hint?: string) => {
    tally.checkErrors++;
    report?.(`ERROR ${what}`);
    if (hint) report?.(hint);
    return checkFailed(image.file.name, what, reason);
  };
  if (count > MAX_SNAPSHOTS)
    throw fail(
      "snapshot table too large",
      "File too large",
      `You can force-remove all ${count - MAX_SNAPSHOTS} overhanging snapshots with byre check -r all`,
    );
  if (image.snapshotsOffsetBytes % image.clusterSizeBytes !== 0 || image.snapshotsOffsetBytes >= 2 ** 63)
    throw fail("snapshot table offset invalid", "Invalid argument");

  const l1OffsetHi = new Uint32Array(count);
  const l1OffsetLo = new Uint32Array(count);
  const l1Entries = new Uint32Array(count);
  const entryOffsetBytes = new Float64Array(count);
  const extraBytes = new Uint32Array(count);
  const start = image.snapshotsOffsetBytes;
  const window = new Uint8Array(WINDOW_BYTES);
  const view = viewOf(window);
  let windowAt = -1;
  // Lengths as the table would have with extra data cut, and as it has.
  let tableBytes = 0;
  let at = 0;
  let cutExtra = 0;
  let kept = count;
  for (let index = 0; index < count; index++) {
    const before = at;
    tableBytes = Math.ceil(tableBytes / 8) * 8;
    at = Math.ceil(at / 8) * 8;
    if (windowAt < 0 || at < windowAt || at + FIXED_BYTES > windowAt + WINDOW_BYTES) {
      windowAt = at;
      await readPadded(image.file, start + at, window);
    }
    const inWindow = at - windowAt;
    entryOffsetBytes[index] = start + at;
    l1OffsetHi[index] = view.getUint32(inWindow);
    l1OffsetLo[index] = view.getUint32(inWindow + 4);
    l1Entries[index] = view.getUint32(inWindow + 8);
    const textBytes = view.getUint16(inWindow + 12) + view.getUint16(inWindow + 14);
    const extra = view.getUint32(inWindow + 36);
    if (extra > MAX_SNAPSHOT_EXTRA_BYTES) {
      if (!repair)
        throw fail(
          `failed to read the snapshot table: Too much extra metadata in snapshot table entry ${index}`,
          "File too large",
          "You can force-remove this extra metadata with byre check -r all",
        );
      report?.(
        `Discarding too much extra metadata in snapshot table entry ${index} (${extra} > ${MAX_SNAPSHOT_EXTRA_BYTES})`,
      );
      cutExtra++;
    }
    extraBytes[index] = Math.min(extra, MAX_SNAPSHOT_EXTRA_BYTES);
    tableBytes += FIXED_BYTES + Math.min(extra, MAX_SNAPSHOT_EXTRA_BYTES) + textBytes;
    at += FIXED_BYTES + extra + textBytes;
    if (tableBytes > MAX_SNAPSHOT_TABLE_BYTES || at > INT_MAX) {
      const over = count - index;
      if (!repair)
        throw fail(
          "failed to read the snapshot table: Snapshot table is too big",
          "File too large",
          `You can force-remove all ${over} overhanging snapshots with byre check -r all`,
        );
      report?.(`Discarding ${over} overhanging snapshots (snapshot table is too big)`);
      dropped += over;
      kept = index;
      at = before;
      break;
    }
  }
  tally.corruptions += dropped + cutExtra;
  if (dropped > 0) {
    tally.corruptions -= dropped;
    tally.corruptionsFixed += dropped;
  }
  if (image.header.version >= 3)
    for (let index = 0; index < kept; index++)
      if ((extraBytes[index] ?? 0) < V3_EXTRA_MIN_BYTES) {
        tally.corruptions++;
        report?.(`${repair ? "Repairing" : "ERROR"} snapshot table entry ${index} is incomplete`);
      }
  return {
    count: kept,
    dropped,
    cutExtra,
    lengthBytes: at,
    l1OffsetHi,
    l1OffsetLo,
    l1Entries,
    entryOffsetBytes,
  };
}

/** One snapshot's entry, whole; extra data past the limit left out. */
export interface SnapshotEntry {
  readonly fixed: Uint8Array;
  readonly extra: Uint8Array;
  readonly id: Uint8Array;
  readonly name: Uint8Array;
}

/** Reads one entry of the table again. */
export async function readSnapshotEntry(
  image: CheckedImage,
  snapshots: CheckedSnapshots,
  index: number,
): Promise<SnapshotEntry> {
  const at = snapshots.entryOffsetBytes[index] ?? 0;
  const fixed = new Uint8Array(FIXED_BYTES);
  await readPadded(image.file, at, fixed);
  const view = viewOf(fixed);
  const extraBytes = view.getUint32(36);
  const extra = new Uint8Array(Math.min(extraBytes, MAX_SNAPSHOT_EXTRA_BYTES));
  await readPadded(image.file, at + FIXED_BYTES, extra);
  const text = new Uint8Array(view.getUint16(12) + view.getUint16(14));
  await readPadded(image.file, at + FIXED_BYTES + extraBytes, text);
  const idBytes = view.getUint16(12);
  return {
    fixed,
    extra,
    id: untilNul(text.subarray(0, idBytes)),
    name: untilNul(text.subarray(idBytes)),
  };
}

/** Bytes of an entry as it is written: at least the known extra data. */
function snapshotEntryBytes(entry: SnapshotEntry): number {
  return FIXED_BYTES + Math.max(KNOWN_EXTRA_BYTES, entry.extra.length) + entry.id.length + entry.name.length;
}

/**
 * An entry with what its version asks for: the VM state's and the disk's size, and the instruction count.
 *
 * @param diskBytes the disk's size, for an entry that does not tell.
 */
export function encodeSnapshotEntry(entry: SnapshotEntry, diskBytes: number): Uint8Array {
  const { extra, id, name } = entry;
  const extraBytes = Math.max(KNOWN_EXTRA_BYTES, extra.length);
  const bytes = new Uint8Array(snapshotEntryBytes(entry));
  const view = viewOf(bytes);
  bytes.set(entry.fixed);
  view.setUint16(12, id.length);
  view.setUint16(14, name.length);
  view.setUint32(36, extraBytes);
  bytes.set(extra, FIXED_BYTES);
  if (extra.length < 8) {
    view.setUint32(FIXED_BYTES, 0);
    view.setUint32(FIXED_BYTES + 4, viewOf(entry.fixed).getUint32(32));
  }
  if (extra.length < 16) view.setBigUint64(FIXED_BYTES + 8, BigInt(diskBytes));
  if (extra.length < KNOWN_EXTRA_BYTES) view.setBigUint64(FIXED_BYTES + 16, 0xffffffffffffffffn);
  // The old field is for sizes of 32 bits; what is larger stands in the extra data alone.
  view.setUint32(32, view.getUint32(FIXED_BYTES) === 0 ? view.getUint32(FIXED_BYTES + 4) : 0);
  bytes.set(id, FIXED_BYTES + extraBytes);
  bytes.set(name, FIXED_BYTES + extraBytes + id.length);
  return bytes;
}

function untilNul(bytes: Uint8Array): Uint8Array {
  const end = bytes.indexOf(0);
  return end < 0 ? bytes : bytes.subarray(0, end);
}
