import { SECTOR_BYTES } from "./format.ts";
import { splitU64 } from "./u64.ts";

/** What an L2 entry says of one guest cluster. Host offsets in bytes. */
export type L2Entry =
  | { readonly kind: "unallocated" }
  /** Reads as zeros; may have a host cluster of its own in reserve. */
  | { readonly kind: "zero"; readonly hostOffsetBytes: number | undefined; readonly copied: boolean }
  | { readonly kind: "data"; readonly hostOffsetBytes: number; readonly copied: boolean }
  | { readonly kind: "compressed"; readonly hostOffsetBytes: number; readonly lengthBytes: number };

const TWO_32 = 2 ** 32;
/** Top bit: the refcount is exactly 1, so the cluster may be written in place. */
const COPIED_HI = 0x80000000;
const COMPRESSED_HI = 0x40000000;
/** Bits 9 to 55. */
const OFFSET_HI_MASK = 0x00ffffff;
const OFFSET_LO_MASK = 0xfffffe00;

const UNALLOCATED: L2Entry = { kind: "unallocated" };

/**
 * Decodes an L2 entry (not an extended one) from its two halves.
 *
 * @param zeroFlag whether bit 0 means zeros: version 3.
 */
export function decodeL2Entry(hi: number, lo: number, clusterBits: number, zeroFlag: boolean): L2Entry {
  if (hi & COMPRESSED_HI) {
    // Offset in the low x bits, number of further sectors above it: x = 62 - (cluster_bits - 8), at most 61.
    const offsetBits = 62 - (clusterBits - 8);
    const highBits = offsetBits - 32;
    const highMask = 2 ** highBits - 1;
    const hostOffsetBytes = (hi & highMask) * TWO_32 + lo;
    const moreSectors = (hi & 0x3fffffff) >>> highBits;
    const lengthBytes = (moreSectors + 1) * SECTOR_BYTES - (hostOffsetBytes % SECTOR_BYTES);
    return { kind: "compressed", hostOffsetBytes, lengthBytes };
  }
  const hostOffsetBytes = decodeTableOffset(hi, lo);
  const copied = hi >>> 31 === 1;
  if (zeroFlag && lo & 1)
    return { kind: "zero", hostOffsetBytes: hostOffsetBytes === 0 ? undefined : hostOffsetBytes, copied };
  return hostOffsetBytes === 0 ? UNALLOCATED : { kind: "data", hostOffsetBytes, copied };
}

/** The host offset of an L1 entry, or of an uncompressed L2 entry. */
export function decodeTableOffset(hi: number, lo: number): number {
  return (hi & OFFSET_HI_MASK) * TWO_32 + ((lo & OFFSET_LO_MASK) >>> 0);
}

/** Whether the COPIED flag is set in an L1 entry or an uncompressed L2 entry. */
export function isCopied(hi: number): boolean {
  return hi >>> 31 === 1;
}

/** Halves of an entry that points to a cluster with a refcount of exactly 1. */
export function encodeCopiedEntry(hostOffsetBytes: number): { hi: number; lo: number } {
  const { hi, lo } = splitU64(hostOffsetBytes);
  return { hi: (hi | COPIED_HI) >>> 0, lo };
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
