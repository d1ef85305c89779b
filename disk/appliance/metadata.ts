import { ByreError } from "../errors.ts";
import { deflateCluster, inflateCluster } from "../qcow2/compression.ts";

/** "META": the header extension by which an image describes itself. See docs/metadata.md. */
export const METADATA_MAGIC = 0x4d455441;

/** Most bytes of the pairs before compression: room for an icon and a licence, none to hide a disk in. */
export const MAX_METADATA_BYTES = 1024 * 1024;
/**
 * Most bytes of the extension's data. QEMU keeps unknown extensions but cannot clear the dirty bit of an image
 * whose header cluster is over-full, and then no longer opens it.
 */
export const MAX_STORED_METADATA_BYTES = 32 * 1024;
export const MAX_METADATA_KEY_BYTES = 255;

const VERSION = 1;
const HEAD_BYTES = 8;
const Compression = { NONE: 0, DEFLATE: 1 } as const;
/** Written seldom and read often. */
const DEFLATE_LEVEL = 9;
const KEY = /^[a-z0-9][a-z0-9._-]*$/;
/** How many of the largest values a message names. */
const NAMED_IN_MESSAGE = 3;

/** Values by key, in the order they were first set. */
export type Metadata = ReadonlyMap<string, string>;

/**
 * Reads the extension's data. Every key and value is text from a stranger: show it as text, never as markup.
 *
 * @param data the extension without its magic and length.
 * @throws ByreError METADATA_INVALID for anything that is not exactly what version 1 says, with the offset in
 *   the extension; UNSUPPORTED_VERSION for a later version.
 */
export function parseMetadata(data: Uint8Array, fileName: string): Map<string, string> {
  const fail = (what: string, offsetBytes: number): never => {
    throw new ByreError(
      "METADATA_INVALID",
      `${fileName}: its metadata cannot be read: ${what} (offset ${offsetBytes} of the extension META).`,
      { file: fileName, offsetBytes },
    );
  };
  if (data.length < HEAD_BYTES) fail(`it has ${data.length} bytes, fewer than its head of ${HEAD_BYTES}`, 0);
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const version = view.getUint8(0);
  if (version !== VERSION)
    throw new ByreError(
      "UNSUPPORTED_VERSION",
      `${fileName}: its metadata has version ${version}; version ${VERSION} is read here. Use a newer byre.`,
      { file: fileName, version },
    );
  const compression = view.getUint8(1);
  if (compression > Compression.DEFLATE) fail(`compression ${compression} is not known`, 1);
  if (view.getUint16(2) !== 0) fail(`the reserved field is ${view.getUint16(2)}, not 0`, 2);
  const plainBytes = view.getUint32(4);
  if (plainBytes > MAX_METADATA_BYTES) fail(`it claims ${plainBytes} bytes; 1 MiB is the most`, 4);
  const stored = data.subarray(HEAD_BYTES);
  const plain = compression === Compression.NONE ? stored : inflateCluster(stored, plainBytes);
  if (plain === undefined || plain.length !== plainBytes)
    return fail(`its ${stored.length} stored bytes are not the ${plainBytes} they should be`, HEAD_BYTES);
  return parsePairs(plain, fail);
}

/**
 * The extension's data, compressed where that makes it smaller.
 *
 * @param roomBytes what the header cluster has for it; see `metadataRoom`.
 * @throws ByreError METADATA_INVALID for a key or value that cannot be stored; METADATA_TOO_LARGE, naming the
 *   largest values, for what does not fit.
 */
export function encodeMetadata(metadata: Metadata, fileName: string, roomBytes: number): Uint8Array {
  let text = "";
  for (const [key, value] of metadata) {
    checkMetadataKey(key, fileName);
    checkMetadataValue(key, value, fileName);
    text += `${key}\0${value}\0`;
  }
  const plain = new TextEncoder().encode(text);
  if (plain.length > MAX_METADATA_BYTES)
    throw tooLarge(metadata, fileName, plain.length, MAX_METADATA_BYTES, "before compression");
  const packed = plain.length > 0 ? deflateCluster(plain, DEFLATE_LEVEL) : undefined;
  const stored = packed ?? plain;
  const data = new Uint8Array(HEAD_BYTES + stored.length);
  const limitBytes = Math.min(MAX_STORED_METADATA_BYTES, roomBytes);
  if (data.length > limitBytes)
    throw tooLarge(metadata, fileName, data.length, Math.max(0, limitBytes), "stored in its header cluster");
  const view = new DataView(data.buffer);
  view.setUint8(0, VERSION);
  view.setUint8(1, packed ? Compression.DEFLATE : Compression.NONE);
  view.setUint32(4, plain.length);
  data.set(stored, HEAD_BYTES);
  return data;
}

/**
 * @throws ByreError METADATA_INVALID when the key is none.
 */
export function checkMetadataKey(key: string, fileName: string): void {
  if (KEY.test(key) && key.length <= MAX_METADATA_KEY_BYTES) return;
  throw new ByreError(
    "METADATA_INVALID",
    `${fileName}: ${JSON.stringify(key.slice(0, 80))} is no metadata key. A key begins with a small letter or digit and ` +
      `has small letters, digits, '.', '_' and '-', at most ${MAX_METADATA_KEY_BYTES} of them.`,
    { file: fileName, key },
  );
}

function checkMetadataValue(key: string, value: string, fileName: string): void {
  if (!value.includes("\0") && !/\p{Surrogate}/u.test(value)) return;
  throw new ByreError(
    "METADATA_INVALID",
    `${fileName}: the value of ${key} is not text: it holds a NUL or half a character. Encode it, as base64 for one.`,
    { file: fileName, key },
  );
}

function parsePairs(
  plain: Uint8Array,
  fail: (what: string, offsetBytes: number) => never,
): Map<string, string> {
  const metadata = new Map<string, string>();
  const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  const text = (start: number, what: string): { value: string; end: number } => {
    const end = plain.indexOf(0, start);
    if (end < 0) return fail(`${what} does not end`, HEAD_BYTES + start);
    try {
      return { value: decoder.decode(plain.subarray(start, end)), end };
    } catch {
      return fail(`${what} is not UTF-8`, HEAD_BYTES + start);
    }
  };
  for (let at = 0; at < plain.length; ) {
    const key = text(at, "a key");
    if (!KEY.test(key.value) || key.value.length > MAX_METADATA_KEY_BYTES)
      fail(`${JSON.stringify(key.value.slice(0, 80))} is no key`, HEAD_BYTES + at);
    if (metadata.has(key.value)) fail(`the key ${key.value} is there twice`, HEAD_BYTES + at);
    const value = text(key.end + 1, `the value of ${key.value}`);
    metadata.set(key.value, value.value);
    at = value.end + 1;
  }
  return metadata;
}

function tooLarge(
  metadata: Metadata,
  fileName: string,
  lengthBytes: number,
  limitBytes: number,
  where: string,
): ByreError {
  const encoder = new TextEncoder();
  const largest = [...metadata]
    .map(([key, value]) => ({ key, bytes: encoder.encode(value).length }))
    .sort((a, b) => b.bytes - a.bytes)
    .slice(0, NAMED_IN_MESSAGE)
    .map(({ key, bytes }) => `${key} (${bytes} bytes)`);
  const advice =
    limitBytes < MAX_STORED_METADATA_BYTES / 2
      ? " An image with larger clusters has more room: convert it with cluster_size=64k."
      : "";
  return new ByreError(
    "METADATA_TOO_LARGE",
    `${fileName}: the metadata would take ${lengthBytes} bytes ${where}, and there is room for ${limitBytes}. ` +
      `Shorten or unset the largest: ${largest.join(", ")}.${advice}`,
    { file: fileName, lengthBytes, limitBytes },
  );
}
