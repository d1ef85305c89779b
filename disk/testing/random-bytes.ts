/** The most `crypto.getRandomValues` gives in one call, in bytes (Web Cryptography, section 10.1.1). */
const CALL_BYTES = 65536;

/** Bytes that do not compress: storage engines write zeros ten times faster than these. */
export function randomBytes(lengthBytes: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(lengthBytes);
  for (let at = 0; at < lengthBytes; at += CALL_BYTES)
    crypto.getRandomValues(bytes.subarray(at, Math.min(at + CALL_BYTES, lengthBytes)));
  return bytes;
}
