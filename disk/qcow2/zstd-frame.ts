import { viewOf } from "./u64.ts";

/**
 * The outside of a zstd frame (RFC 8878, section 3.1): enough to know where it ends and what it claims to
 * hold, so that a compressed cluster's data can be cut to whole frames and held against the cluster before
 * any of it is decoded.
 */
export interface ZstdFrame {
  /** From the magic number to the end of the checksum. */
  readonly lengthBytes: number;
  /** Bytes it says it decodes to; undefined when it does not say. A skippable frame holds 0. */
  readonly contentBytes: number | undefined;
  readonly skippable: boolean;
}

const FRAME_MAGIC = 0xfd2fb528;
/** Skippable frames have sixteen magic numbers, from this one on. */
const SKIPPABLE_MAGIC = 0x184d2a50;
const MAGIC_BYTES = 4;
const SKIPPABLE_HEADER_BYTES = 8;
const BLOCK_HEADER_BYTES = 3;
const CHECKSUM_BYTES = 4;
const DICTIONARY_ID_BYTES = [0, 1, 2, 4] as const;
const BLOCK_RLE = 1;
const BLOCK_RESERVED = 3;
/** Largest block, compressed or not (RFC 8878, section 3.1.1.2.4). */
const MAX_BLOCK_BYTES = 128 * 1024;

/**
 * Finds the frame at an offset by walking its block headers. Loops over no more than `input` has.
 *
 * @returns undefined when no whole and possible frame stands there: another magic, a reserved bit or block
 *   type, a dictionary, or an end outside `input`.
 */
export function parseZstdFrame(input: Uint8Array, offsetBytes: number): ZstdFrame | undefined {
  const view = viewOf(input);
  if (offsetBytes + MAGIC_BYTES + 1 > input.length) return undefined;
  const magic = view.getUint32(offsetBytes, true);
  if (magic >>> 4 === SKIPPABLE_MAGIC >>> 4) {
    if (offsetBytes + SKIPPABLE_HEADER_BYTES > input.length) return undefined;
    const lengthBytes = SKIPPABLE_HEADER_BYTES + view.getUint32(offsetBytes + MAGIC_BYTES, true);
    if (lengthBytes > input.length - offsetBytes) return undefined;
    return { lengthBytes, contentBytes: 0, skippable: true };
  }
  if (magic !== FRAME_MAGIC) return undefined;

  const descriptor = view.getUint8(offsetBytes + MAGIC_BYTES);
  const singleSegment = (descriptor & 0x20) !== 0;
  const hasChecksum = (descriptor & 0x04) !== 0;
  if (descriptor & 0x08) return undefined;
  const dictionaryIdBytes = DICTIONARY_ID_BYTES[descriptor & 3] ?? 0;
  const sizeFlag = descriptor >>> 6;
  const sizeBytes = sizeFlag === 0 ? (singleSegment ? 1 : 0) : 2 ** sizeFlag;
  let at = offsetBytes + MAGIC_BYTES + 1 + (singleSegment ? 0 : 1);
  if (at + dictionaryIdBytes + sizeBytes > input.length) return undefined;
  // No dictionary goes with an image, so nothing but "none", however it is spelled, can be decoded.
  for (let i = 0; i < dictionaryIdBytes; i++) if (input[at + i] !== 0) return undefined;
  at += dictionaryIdBytes;
  const contentBytes = readContentSize(view, at, sizeBytes);
  at += sizeBytes;

  for (let last = false; !last; ) {
    if (at + BLOCK_HEADER_BYTES > input.length) return undefined;
    const header = view.getUint16(at, true) | (view.getUint8(at + 2) << 16);
    const type = (header >>> 1) & 3;
    const blockBytes = header >>> 3;
    if (type === BLOCK_RESERVED || blockBytes > MAX_BLOCK_BYTES) return undefined;
    last = (header & 1) !== 0;
    at += BLOCK_HEADER_BYTES + (type === BLOCK_RLE ? 1 : blockBytes);
  }
  if (hasChecksum) at += CHECKSUM_BYTES;
  if (at > input.length) return undefined;
  return { lengthBytes: at - offsetBytes, contentBytes, skippable: false };
}

function readContentSize(view: DataView, at: number, sizeBytes: number): number | undefined {
  switch (sizeBytes) {
    case 1:
      return view.getUint8(at);
    case 2:
      // The format's own offset: smaller contents have the one-byte field.
      return view.getUint16(at, true) + 256;
    case 4:
      return view.getUint32(at, true);
    case 8:
      return view.getUint32(at + 4, true) * 2 ** 32 + view.getUint32(at, true);
    default:
      return undefined;
  }
}
