import { readU64, viewOf, writeU64 } from "./u64.ts";

/**
 * One entry of a refcount block, for every width: 2^order bits. Widths under a byte fill a byte from its
 * least significant bit up; the others are big-endian.
 *
 * @returns the refcount; Infinity for a 64-bit value past the safe integers (so: more than any real count).
 */
export function readRefcount(block: Uint8Array, index: number, order: number): number {
  if (order < 3) {
    const bit = index << order;
    const mask = (1 << (1 << order)) - 1;
    return ((block[bit >> 3] ?? 0) >> (bit & 7)) & mask;
  }
  const view = viewOf(block);
  switch (order) {
    case 3:
      return view.getUint8(index);
    case 4:
      return view.getUint16(index * 2);
    case 5:
      return view.getUint32(index * 4);
    default:
      return readU64(view, index * 8) ?? Number.POSITIVE_INFINITY;
  }
}

/** Sets one entry; `value` must be at most `maxRefcount(order)`. */
export function writeRefcount(block: Uint8Array, index: number, order: number, value: number): void {
  if (order < 3) {
    const bit = index << order;
    const mask = ((1 << (1 << order)) - 1) << (bit & 7);
    const at = bit >> 3;
    block[at] = ((block[at] ?? 0) & ~mask) | (value << (bit & 7));
    return;
  }
  const view = viewOf(block);
  switch (order) {
    case 3:
      view.setUint8(index, value);
      break;
    case 4:
      view.setUint16(index * 2, value);
      break;
    case 5:
      view.setUint32(index * 4, value);
      break;
    default:
      writeU64(view, index * 8, value);
  }
}

/** Which bytes of the block hold the entry. */
export function refcountBytes(index: number, order: number): { start: number; end: number } {
  const firstBit = index * 2 ** order;
  return { start: Math.floor(firstBit / 8), end: Math.ceil((firstBit + 2 ** order) / 8) };
}

/** The largest count an entry holds; the safe integers bound 64-bit ones. */
export function maxRefcount(order: number): number {
  return order === 6 ? Number.MAX_SAFE_INTEGER : 2 ** (2 ** order) - 1;
}

/** How many clusters one refcount block counts. */
export function refcountsPerBlock(clusterSizeBytes: number, order: number): number {
  return (clusterSizeBytes * 8) / 2 ** order;
}
