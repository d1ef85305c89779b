import { SECTOR_BYTES } from "./format.ts";
import { splitU64 } from "./u64.ts";

/**
 * What an L2 entry says of one guest cluster. Host offsets in bytes.
 *
 * An entry is of one unit, or, with extended L2 entries, of 32 subclusters; the two bit sets have a bit for
 * each, and never the same bit: what neither set has comes from the backing device.
 */
export type L2Entry = PlainEntry | CompressedEntry;

export interface PlainEntry {
  readonly kind: "plain";
  /** The host cluster, 0 when there is none. */
  readonly hostOffsetBytes: number;
  /** The refcount is exactly 1: the host cluster may be written in place. */
  readonly copied: boolean;
  /** Subclusters whose bytes are in the host cluster. */
  readonly allocated: number;
  /** Subclusters that read as zeros. */
  readonly zeros: number;
}

export interface CompressedEntry {
  readonly kind: "compressed";
  readonly hostOffsetBytes: number;
  readonly lengthBytes: number;
}

/** How one subcluster (or whole cluster, where there are none) is stored. */
export type SubclusterKind = "unallocated" | "zero" | "data" | "compressed";

/** What a cluster without subclusters has for its one unit. */
export const WHOLE_CLUSTER = 1;

const TWO_32 = 2 ** 32;
/** Top bit: the refcount is exactly 1, so the cluster may be written in place. */
const COPIED_HI = 0x80000000;
const COMPRESSED_HI = 0x40000000;
/** Bits 9 to 55. */
const OFFSET_HI_MASK = 0x00ffffff;
const OFFSET_LO_MASK = 0xfffffe00;
/** The whole cluster reads as zeros; not in extended entries. */
const ZERO_LO = 1;

const UNALLOCATED: L2Entry = { kind: "plain", hostOffsetBytes: 0, copied: false, allocated: 0, zeros: 0 };

/** Decodes a standard L2 entry from its two halves. Whether a zero flag is allowed is the caller's to check. */
export function decodeL2Entry(hi: number, lo: number, clusterBits: number): L2Entry {
  if (isCompressed(hi)) return decodeCompressed(hi, lo, clusterBits);
  const hostOffsetBytes = decodeTableOffset(hi, lo);
  const zeros = lo & ZERO_LO;
  if (hostOffsetBytes === 0 && zeros === 0) return UNALLOCATED;
  return { kind: "plain", hostOffsetBytes, copied: isCopied(hi), allocated: zeros ? 0 : 1, zeros };
}

/** Decodes an extended L2 entry from its four halves: the entry, then the bit sets for zeros and for data. */
export function decodeExtendedEntry(
  hi: number,
  lo: number,
  zeros: number,
  allocated: number,
  clusterBits: number,
): L2Entry {
  if (isCompressed(hi)) return decodeCompressed(hi, lo, clusterBits);
  const hostOffsetBytes = decodeTableOffset(hi, lo);
  return {
    kind: "plain",
    hostOffsetBytes,
    copied: isCopied(hi),
    allocated: allocated >>> 0,
    zeros: zeros >>> 0,
  };
}

function decodeCompressed(hi: number, lo: number, clusterBits: number): CompressedEntry {
  // Offset in the low x bits, number of further sectors above it: x = 62 - (cluster_bits - 8), at most 61.
  const offsetBits = 62 - (clusterBits - 8);
  const highBits = offsetBits - 32;
  const highMask = 2 ** highBits - 1;
  const hostOffsetBytes = (hi & highMask) * TWO_32 + lo;
  const moreSectors = (hi & 0x3fffffff) >>> highBits;
  const lengthBytes = (moreSectors + 1) * SECTOR_BYTES - (hostOffsetBytes % SECTOR_BYTES);
  return { kind: "compressed", hostOffsetBytes, lengthBytes };
}

/** Whether an L2 entry is of a compressed cluster, from its first half. */
export function isCompressed(hi: number): boolean {
  return (hi & COMPRESSED_HI) !== 0;
}

export function subclusterKind(entry: L2Entry, subcluster: number): SubclusterKind {
  if (entry.kind === "compressed") return "compressed";
  if ((entry.zeros >>> subcluster) & 1) return "zero";
  return (entry.allocated >>> subcluster) & 1 ? "data" : "unallocated";
}

/** Bits of `count` subclusters from `first` on. */
export function subclusterBits(first: number, count: number): number {
  return count >= 32 ? 0xffffffff : (((1 << count) - 1) << first) >>> 0;
}

/** The host offset of an L1 entry, or of an uncompressed L2 entry. */
export function decodeTableOffset(hi: number, lo: number): number {
  return (hi & OFFSET_HI_MASK) * TWO_32 + ((lo & OFFSET_LO_MASK) >>> 0);
}

/** Whether the COPIED flag is set in an L1 entry or an uncompressed L2 entry. */
export function isCopied(hi: number): boolean {
  return hi >>> 31 === 1;
}

/** Halves of an L1 entry or an L2 entry that points to a cluster with a refcount of exactly 1. */
export function encodeCopiedEntry(hostOffsetBytes: number): { hi: number; lo: number } {
  const { hi, lo } = splitU64(hostOffsetBytes);
  return { hi: (hi | COPIED_HI) >>> 0, lo };
}

/**
 * Halves of an entry that is not compressed.
 *
 * @param zeroFlag for standard entries: the cluster reads as zeros.
 */
export function encodePlainEntry(entry: PlainEntry, zeroFlag: boolean): { hi: number; lo: number } {
  const { hi, lo } = splitU64(entry.hostOffsetBytes);
  const copied = entry.copied && entry.hostOffsetBytes > 0;
  return { hi: copied ? (hi | COPIED_HI) >>> 0 : hi, lo: zeroFlag ? lo | ZERO_LO : lo };
}

/** Halves of a compressed entry; its data may begin at any byte and ends with a sector. */
export function encodeCompressedEntry(
  hostOffsetBytes: number,
  lengthBytes: number,
  clusterBits: number,
): { hi: number; lo: number } {
  const highBits = 62 - (clusterBits - 8) - 32;
  const last = hostOffsetBytes + lengthBytes - 1;
  const moreSectors = Math.floor(last / SECTOR_BYTES) - Math.floor(hostOffsetBytes / SECTOR_BYTES);
  const { hi, lo } = splitU64(hostOffsetBytes);
  return { hi: (COMPRESSED_HI | (moreSectors << highBits) | hi) >>> 0, lo };
}

/** Takes the COPIED flags from an L1 or L2 table: what is shared has no refcount of 1. */
export function clearCopied(table: Uint8Array, entryBytes: number): void {
  for (let at = 0; at < table.length; at += entryBytes) table[at] = (table[at] ?? 0) & 0x7f;
}
