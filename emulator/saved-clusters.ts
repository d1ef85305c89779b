/**
 * The clusters of one saved state, with a fingerprint each: what a later save looks up to share what has not
 * changed. 128 bits, so that two clusters that differ are never taken for one by accident.
 */
export class ClusterFingerprints {
  private readonly prints = new Map<number, string>();

  set(clusterIndex: number, print: string): void {
    this.prints.set(clusterIndex, print);
  }

  /** Every whole cluster of a range. */
  addAll(offsetBytes: number, bytes: Uint8Array, clusterSizeBytes: number): void {
    for (let at = 0; at + clusterSizeBytes <= bytes.length; at += clusterSizeBytes)
      this.set((offsetBytes + at) / clusterSizeBytes, fingerprint(bytes.subarray(at, at + clusterSizeBytes)));
  }

  has(clusterIndex: number, print: string): boolean {
    return this.prints.get(clusterIndex) === print;
  }
}

/** Four lanes of 32 bits, each mixed with odd constants of its own (as MurmurHash3 mixes). */
export function fingerprint(bytes: Uint8Array): string {
  const words = new Int32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength >> 2);
  let a = 0x239b961b;
  let b = 0x6c8e9cf5;
  let c = 0x38b34ae5;
  let d = 0x1b873593;
  for (let i = 0; i + 3 < words.length; i += 4) {
    a = Math.imul(rotate(a ^ Math.imul(words[i] ?? 0, 0x2c1b3c6d), 15) + b, 5) + 0x561ccd1b;
    b = Math.imul(rotate(b ^ Math.imul(words[i + 1] ?? 0, 0x297a2d39), 17) + c, 5) + 0x0bcaa747;
    c = Math.imul(rotate(c ^ Math.imul(words[i + 2] ?? 0, 0x5a2bd02f), 19) + d, 5) + 0x96cd1c35;
    d = Math.imul(rotate(d ^ Math.imul(words[i + 3] ?? 0, 0x1f0d5fb9), 13) + a, 5) + 0x32ac3b17;
  }
  return [a, b, c, d].map((lane) => (lane >>> 0).toString(36)).join(".");
}

function rotate(value: number, bits: number): number {
  return (value << bits) | (value >>> (32 - bits));
}

/** Whether bytes are all zeros. `bytes` begins and ends on 8 bytes of its buffer. */
export function isZero(bytes: Uint8Array): boolean {
  const words = new BigUint64Array(bytes.buffer, bytes.byteOffset, bytes.byteLength >> 3);
  for (let i = 0; i < words.length; i++) if (words[i] !== 0n) return false;
  return true;
}
