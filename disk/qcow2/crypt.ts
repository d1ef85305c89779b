import { unsafe } from "@noble/ciphers/aes.js";
import { ByreError } from "../errors.ts";
import { SECTOR_BYTES } from "./format.ts";
import { splitU64, viewOf } from "./u64.ts";

/** AES-128, whatever the length of the password. (The format's specification says 256 bits; QEMU never did.) */
const KEY_BYTES = 16;
const BLOCK_BYTES = 16;

/**
 * The legacy encryption of qcow2 (`crypt_method` 1): AES-128-CBC, each guest sector of 512 bytes on its own,
 * with the sector's number as initialisation vector. It is old and weak (the vector can be foretold, nothing
 * tells a changed sector or a wrong password); it is here to read and move what there is.
 */
export interface ClusterCipher {
  /**
   * Encrypts in place.
   *
   * @param guestOffsetBytes the guest offset of the first byte: it decides the result.
   * @param bytes whole sectors.
   * @throws ByreError INVALID_ARGUMENT when either is not a multiple of 512.
   */
  encrypt(guestOffsetBytes: number, bytes: Uint8Array): void;

  /** Undoes `encrypt`, in place. With another password it gives noise, and nothing can tell. */
  decrypt(guestOffsetBytes: number, bytes: Uint8Array): void;
}

/**
 * The cipher of a password.
 *
 * @param password its bytes, UTF-8 as QEMU takes it; what comes after the first 16 does not count.
 */
export function createClusterCipher(password: Uint8Array): ClusterCipher {
  const key = new Uint8Array(KEY_BYTES);
  key.set(password.subarray(0, KEY_BYTES));
  // The library's own CBC would expand the key again for each sector: half of the time a sector takes.
  const encryptionKey = unsafe.expandKeyLE(key);
  const decryptionKey = unsafe.expandKeyDecLE(key);
  return {
    encrypt(guestOffsetBytes, bytes) {
      checkSectors(guestOffsetBytes, bytes.length);
      const view = viewOf(bytes);
      for (let start = 0; start < bytes.length; start += SECTOR_BYTES) {
        let { lo: s0, hi: s1 } = splitU64((guestOffsetBytes + start) / SECTOR_BYTES);
        let s2 = 0;
        let s3 = 0;
        for (let at = start; at < start + SECTOR_BYTES; at += BLOCK_BYTES) {
          ({ s0, s1, s2, s3 } = unsafe.encrypt(
            encryptionKey,
            s0 ^ view.getUint32(at, true),
            s1 ^ view.getUint32(at + 4, true),
            s2 ^ view.getUint32(at + 8, true),
            s3 ^ view.getUint32(at + 12, true),
          ));
          view.setUint32(at, s0, true);
          view.setUint32(at + 4, s1, true);
          view.setUint32(at + 8, s2, true);
          view.setUint32(at + 12, s3, true);
        }
      }
    },
    decrypt(guestOffsetBytes, bytes) {
      checkSectors(guestOffsetBytes, bytes.length);
      const view = viewOf(bytes);
      for (let start = 0; start < bytes.length; start += SECTOR_BYTES) {
        let { lo: p0, hi: p1 } = splitU64((guestOffsetBytes + start) / SECTOR_BYTES);
        let p2 = 0;
        let p3 = 0;
        for (let at = start; at < start + SECTOR_BYTES; at += BLOCK_BYTES) {
          const c0 = view.getUint32(at, true);
          const c1 = view.getUint32(at + 4, true);
          const c2 = view.getUint32(at + 8, true);
          const c3 = view.getUint32(at + 12, true);
          const { s0, s1, s2, s3 } = unsafe.decrypt(decryptionKey, c0, c1, c2, c3);
          view.setUint32(at, s0 ^ p0, true);
          view.setUint32(at + 4, s1 ^ p1, true);
          view.setUint32(at + 8, s2 ^ p2, true);
          view.setUint32(at + 12, s3 ^ p3, true);
          p0 = c0;
          p1 = c1;
          p2 = c2;
          p3 = c3;
        }
      }
    },
  };
}

/** Of 512 random bytes about 221 are different, hardly ever under 200; code and text have far fewer. */
const RANDOM_DISTINCT_BYTES = 200;

/**
 * A guess whether decrypted bytes are noise, as a wrong password leaves them: the encryption itself cannot
 * tell. Good for a warning, no more: a guest's own encryption looks the same. Ask it about the first sectors
 * of the disk that are stored: there a boot sector, a partition table, a filesystem or zeros are expected.
 *
 * @param bytes whole sectors, decrypted.
 * @returns true when there are sectors and every one of them looks random.
 */
export function looksScrambled(bytes: Uint8Array): boolean {
  for (let at = 0; at + SECTOR_BYTES <= bytes.length; at += SECTOR_BYTES)
    if (new Set(bytes.subarray(at, at + SECTOR_BYTES)).size < RANDOM_DISTINCT_BYTES) return false;
  return bytes.length >= SECTOR_BYTES;
}

function checkSectors(guestOffsetBytes: number, lengthBytes: number): void {
  if (guestOffsetBytes % SECTOR_BYTES === 0 && lengthBytes % SECTOR_BYTES === 0) return;
  throw new ByreError(
    "INVALID_ARGUMENT",
    `Whole sectors of 512 bytes are encrypted, not ${lengthBytes} bytes at ${guestOffsetBytes}.`,
    { offsetBytes: guestOffsetBytes, lengthBytes },
  );
}
