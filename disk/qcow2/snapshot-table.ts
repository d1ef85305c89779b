import { ByreError } from "../errors.ts";
import { MAX_L1_BYTES, MAX_SNAPSHOT_TABLE_BYTES } from "./format.ts";
import { readU64, viewOf, writeU64 } from "./u64.ts";

/** One internal snapshot, as the snapshot table has it. Sizes and offsets in bytes. */
export interface Qcow2Snapshot {
  /** Unique in the image; a number in decimal where QEMU or this driver made it. */
  readonly id: string;
  readonly name: string;
  /** Seconds since 1970, and nanoseconds of that second. */
  readonly dateSeconds: number;
  readonly dateNanoseconds: number;
  /** How long the guest had run. */
  readonly vmClockNanoseconds: bigint;
  readonly vmStateBytes: number;
  /** The disk's virtual size then. */
  readonly diskBytes: number;
  /** Instructions the guest had run; undefined where it was not counted. */
  readonly icount: bigint | undefined;
  readonly l1OffsetBytes: number;
  readonly l1Entries: number;
  /** The extra data whole, what is not understood here included. */
  readonly extraData: Uint8Array;
}

const FIXED_BYTES = 40;
export const MAX_SNAPSHOT_EXTRA_BYTES = 1024;
/** Largest name this driver and QEMU write; the field could hold 65535. */
export const MAX_SNAPSHOT_NAME_BYTES = 255;
/** What QEMU writes: VM state size, disk size, instruction count. */
const EXTRA_BYTES = 24;
/** Version 3 requires VM state size and disk size. */
const V3_EXTRA_MIN_BYTES = 16;
const NO_ICOUNT = 0xffffffffffffffffn;

/**
 * Parses a snapshot table.
 *
 * @param bytes the file from the table's start; may be cut anywhere.
 * @param count how many snapshots the header says, already held against its limit.
 * @param place where the table stands and in what image; `diskBytes` is for entries that do not say a size.
 * @returns the snapshots and the table's length; undefined when `bytes` ends before the table does.
 * @throws ByreError CORRUPT or TOO_LARGE for a field out of its limits.
 */
export function parseSnapshotTable(
  bytes: Uint8Array,
  count: number,
  place: {
    fileName: string;
    offsetBytes: number;
    version: 2 | 3;
    clusterSizeBytes: number;
    diskBytes: number;
  },
): { snapshots: Qcow2Snapshot[]; lengthBytes: number } | undefined {
  const view = viewOf(bytes);
  const decoder = new TextDecoder();
  const snapshots: Qcow2Snapshot[] = [];
  let at = 0;
  for (let index = 0; index < count; index++) {
    const fail = (code: "CORRUPT" | "TOO_LARGE", field: string, value: number | string, expected: string) =>
      new ByreError(
        code,
        `${place.fileName}: ${field} of snapshot ${index} is ${value}, at offset ${place.offsetBytes + at}; ${expected}.`,
        { file: place.fileName, offsetBytes: place.offsetBytes + at, field, value, snapshot: index },
      );
    if (at > MAX_SNAPSHOT_TABLE_BYTES)
      throw fail("TOO_LARGE", "the table's length up to the entry", at, "at most 64 MiB are read");
    if (at + FIXED_BYTES > bytes.length) return undefined;
    const idBytes = view.getUint16(at + 12);
    const nameBytes = view.getUint16(at + 14);
    const extraBytes = view.getUint32(at + 36);
    if (extraBytes > MAX_SNAPSHOT_EXTRA_BYTES)
      throw fail(
        "TOO_LARGE",
        "the extra data",
        extraBytes,
        `at most ${MAX_SNAPSHOT_EXTRA_BYTES} bytes are read`,
      );
    if (place.version === 3 && extraBytes < V3_EXTRA_MIN_BYTES)
      throw fail(
        "CORRUPT",
        "the extra data",
        extraBytes,
        `version 3 has at least ${V3_EXTRA_MIN_BYTES} bytes`,
      );
    const end = at + FIXED_BYTES + extraBytes + idBytes + nameBytes;
    if (end > bytes.length) return undefined;

    const l1OffsetBytes = readU64(view, at);
    const l1Entries = view.getUint32(at + 8);
    if (l1OffsetBytes === undefined || l1OffsetBytes % place.clusterSizeBytes !== 0)
      throw fail("CORRUPT", "the L1 table's offset", hex(view, at), "it must be a cluster's start");
    if (l1Entries * 8 > MAX_L1_BYTES)
      throw fail("TOO_LARGE", "the L1 table's length", l1Entries, "at most 32 MiB of entries are read");

    const extraAt = at + FIXED_BYTES;
    const size = (offset: number, field: string): number => {
      const value = readU64(view, offset);
      if (value === undefined) throw fail("TOO_LARGE", field, hex(view, offset), "at most 2^53 - 1 is read");
      return value;
    };
    const text = (start: number, length: number) => decoder.decode(bytes.subarray(start, start + length));
    const icount = extraBytes >= EXTRA_BYTES ? view.getBigUint64(extraAt + 16) : NO_ICOUNT;
    snapshots.push({
      id: text(extraAt + extraBytes, idBytes),
      name: text(extraAt + extraBytes + idBytes, nameBytes),
      dateSeconds: view.getUint32(at + 16),
      dateNanoseconds: view.getUint32(at + 20),
      vmClockNanoseconds: view.getBigUint64(at + 24),
      vmStateBytes: extraBytes >= 8 ? size(extraAt, "the VM state's size") : view.getUint32(at + 32),
      diskBytes: extraBytes >= 16 ? size(extraAt + 8, "the disk's size") : place.diskBytes,
      icount: icount === NO_ICOUNT ? undefined : icount,
      l1OffsetBytes,
      l1Entries,
      extraData: bytes.slice(extraAt, extraAt + extraBytes),
    });
    at = Math.ceil(end / 8) * 8;
  }
  return { snapshots, lengthBytes: at };
}

/** The bytes of a snapshot table. Extra data that is not understood stays as it was. */
export function encodeSnapshotTable(snapshots: readonly Qcow2Snapshot[]): Uint8Array<ArrayBuffer> {
  const encoder = new TextEncoder();
  const entries = snapshots.map((snapshot) => {
    const id = encoder.encode(snapshot.id);
    const name = encoder.encode(snapshot.name);
    const extraBytes = Math.max(EXTRA_BYTES, snapshot.extraData.length);
    const bytes = new Uint8Array(Math.ceil((FIXED_BYTES + extraBytes + id.length + name.length) / 8) * 8);
    const view = viewOf(bytes);
    writeU64(view, 0, snapshot.l1OffsetBytes);
    view.setUint32(8, snapshot.l1Entries);
    view.setUint16(12, id.length);
    view.setUint16(14, name.length);
    view.setUint32(16, snapshot.dateSeconds);
    view.setUint32(20, snapshot.dateNanoseconds);
    view.setBigUint64(24, snapshot.vmClockNanoseconds);
    // The old field is of 32 bits; the extra data has the whole size.
    view.setUint32(32, snapshot.vmStateBytes > 0xffffffff ? 0 : snapshot.vmStateBytes);
    view.setUint32(36, extraBytes);
    bytes.set(snapshot.extraData, FIXED_BYTES);
    writeU64(view, FIXED_BYTES, snapshot.vmStateBytes);
    writeU64(view, FIXED_BYTES + 8, snapshot.diskBytes);
    view.setBigUint64(FIXED_BYTES + 16, snapshot.icount ?? NO_ICOUNT);
    bytes.set(id, FIXED_BYTES + extraBytes);
    bytes.set(name, FIXED_BYTES + extraBytes + id.length);
    return bytes;
  });
  const table = new Uint8Array(entries.reduce((sum, entry) => sum + entry.length, 0));
  let at = 0;
  for (const entry of entries) {
    table.set(entry, at);
    at += entry.length;
  }
  return table;
}

function hex(view: DataView, offset: number): string {
  return `0x${view.getBigUint64(offset).toString(16)}`;
}
