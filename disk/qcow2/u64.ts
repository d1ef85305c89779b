/**
 * 64-bit big-endian fields as plain numbers. A field becomes a number once, when it is parsed, with a range
 * check; everything after works with safe integers.
 */

const TWO_32 = 2 ** 32;

/** The field's value, or undefined when it is past the safe integers (2^53 - 1). */
export function readU64(view: DataView, offsetBytes: number): number | undefined {
  const value = view.getUint32(offsetBytes) * TWO_32 + view.getUint32(offsetBytes + 4);
  return Number.isSafeInteger(value) ? value : undefined;
}

/** Writes a safe integer of at least 0. */
export function writeU64(view: DataView, offsetBytes: number, value: number): void {
  view.setUint32(offsetBytes, Math.floor(value / TWO_32));
  view.setUint32(offsetBytes + 4, value % TWO_32);
}

/** High and low halves of a safe integer, to combine with flag bits. */
export function splitU64(value: number): { hi: number; lo: number } {
  return { hi: Math.floor(value / TWO_32), lo: value % TWO_32 };
}

export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** The bytes that a view is of; not a copy. */
export function bytesOf(view: DataView): Uint8Array {
  return new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
}
