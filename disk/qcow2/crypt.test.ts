import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { expectError } from "../testing/block-file-suite.ts";
import { Bench, hasQemu, qemuImg, qemuIo } from "../testing/qemu.ts";
import { randomBytes } from "../testing/random-bytes.ts";
import { createClusterCipher, looksScrambled } from "./crypt.ts";
import { HeaderField } from "./format.ts";
import { viewOf } from "./u64.ts";

const utf8 = (text: string) => new TextEncoder().encode(text);

describe("the legacy cipher", () => {
  test("gives back what it encrypted, at the same offset only", () => {
    const plain = randomBytes(65536);
    const cipher = createClusterCipher(utf8("secret"));
    const bytes = plain.slice();
    cipher.encrypt(1024, bytes);
    expect(Buffer.compare(bytes, plain)).not.toBe(0);
    const elsewhere = bytes.slice();
    cipher.decrypt(512, elsewhere);
    expect(Buffer.compare(elsewhere, plain)).not.toBe(0);
    cipher.decrypt(1024, bytes);
    expect(Buffer.compare(bytes, plain)).toBe(0);
  });

  test("does not care how sectors are grouped, or where in memory they stand", () => {
    const plain = randomBytes(4096);
    const cipher = createClusterCipher(utf8("secret"));
    const whole = plain.slice();
    cipher.encrypt(2 ** 45, whole);
    const odd = new Uint8Array(4099).subarray(3);
    odd.set(plain);
    for (let at = 0; at < 4096; at += 512) cipher.encrypt(2 ** 45 + at, odd.subarray(at, at + 512));
    expect(Buffer.compare(odd, whole)).toBe(0);
  });

  test("numbers sectors past the first 2 TiB in 64 bits", () => {
    const cipher = createClusterCipher(utf8("secret"));
    const near = new Uint8Array(512);
    const far = new Uint8Array(512);
    cipher.encrypt(512, near);
    cipher.encrypt(512 + 512 * 2 ** 32, far);
    expect(Buffer.compare(near, far)).not.toBe(0);
  });

  test("takes whole sectors only", async () => {
    const cipher = createClusterCipher(utf8("x"));
    await expectError("INVALID_ARGUMENT", async () => cipher.encrypt(100, new Uint8Array(512)));
    await expectError("INVALID_ARGUMENT", async () => cipher.decrypt(0, new Uint8Array(100)));
  });

  test("a wrong password is guessed from what it leaves", () => {
    const text = utf8("a boot sector, with text and code in it. ".repeat(200)).slice(0, 4096);
    const encrypted = text.slice();
    createClusterCipher(utf8("right")).encrypt(0, encrypted);
    createClusterCipher(utf8("wrong")).decrypt(0, encrypted);
    expect(looksScrambled(encrypted)).toBe(true);
    expect(looksScrambled(text)).toBe(false);
    expect(looksScrambled(new Uint8Array(4096))).toBe(false);
    expect(looksScrambled(new Uint8Array())).toBe(false);
  });
});

describe.skipIf(!hasQemu)("the legacy cipher beside QEMU", () => {
  let bench: Bench;
  beforeAll(() => {
    bench = new Bench();
  });
  afterAll(() => bench.remove());

  // Shorter than the key, just as long, longer, none, and not ASCII.
  test.each(["abc", "sixteen bytes ok", "seventeen bytes and then some", "", "pässwörd€"])(
    "decrypts what QEMU encrypts with the password %j",
    (password) => {
      const raw = randomBytes(65536);
      bench.put("disk.raw", raw);
      const path = bench.path("aes.qcow2");
      const secret = ["--object", `secret,id=s,data=${password}`];
      qemuImg(
        "create",
        "-q",
        "-f",
        "qcow2",
        ...secret,
        "-o",
        "encrypt.format=aes,encrypt.key-secret=s,cluster_size=4096",
        path,
        "8T",
      );
      const far = 5 * 2 ** 40 + 8192;
      qemuIo(
        `driver=qcow2,encrypt.key-secret=s,file.filename=${path}`,
        [`write -s ${bench.path("disk.raw")} ${far} 64k`],
        [...secret, "--image-opts"],
      );
      const image = bench.bytes("aes.qcow2");
      const cipher = createClusterCipher(utf8(password));
      const host = hostOffset(image, far);
      const bytes = image.slice(host, host + 4096);
      cipher.decrypt(far, bytes);
      expect(Buffer.compare(bytes, raw.subarray(0, 4096))).toBe(0);
      cipher.encrypt(far, bytes);
      expect(Buffer.compare(bytes, image.subarray(host, host + 4096))).toBe(0);
    },
  );

  function hostOffset(image: Uint8Array, guestOffsetBytes: number): number {
    const view = viewOf(image);
    const mask = 0xfffffffffffe00n;
    const clusterBytes = 2 ** view.getUint32(HeaderField.CLUSTER_BITS);
    const entries = clusterBytes / 8;
    const l1 = Number(view.getBigUint64(HeaderField.L1_OFFSET));
    const index = Math.floor(guestOffsetBytes / clusterBytes);
    const l2 = Number(view.getBigUint64(l1 + Math.floor(index / entries) * 8) & mask);
    return Number(view.getBigUint64(l2 + (index % entries) * 8) & mask);
  }
});
