import { describe, expect, test } from "vitest";
import { isAllZero } from "../disk/index.ts";
import { nodePacker } from "./node-packer.ts";
import { fingerprint, PrintTable, samePrint } from "./saved-clusters.ts";
import { directPacker } from "./state-packer.ts";
import { fillWithNoise } from "./testing/saved-machine.ts";

const CLUSTER = 64 * 1024;

const text = () => Uint8Array.from({ length: CLUSTER }, (_, i) => i >> 5);
const noise = () => {
  const bytes = new Uint8Array(CLUSTER);
  fillWithNoise(bytes);
  return bytes;
};

describe.each([
  ["direct", directPacker],
  ["Node's", nodePacker],
] as const)("the %s packer", (_name, packer) => {
  test.each(["zlib", "zstd"] as const)(
    "gives back what it packed (%s), and packs nothing that grows",
    async (type) => {
      const [packed, plain] = await packer.pack([{ bytes: text() }, { bytes: noise() }], type);
      expect(packed?.packed?.length).toBeLessThan(CLUSTER / 2);
      expect(plain?.packed).toBeUndefined();
      expect(plain?.bytes).toEqual(noise());
      if (!packed?.packed) throw new Error("it was not packed");
      // Bytes of another cluster may follow.
      const followed = new Uint8Array(packed.packed.length + 300).fill(9);
      followed.set(packed.packed);
      const damaged = new Uint8Array(packed.packed.length).fill(0xff);
      const [again, none] = await packer.unpack(
        [type === "zlib" ? followed : packed.packed, damaged],
        CLUSTER,
        type,
      );
      expect(again?.bytes).toEqual(text());
      expect(again?.print).toEqual(packed.print);
      expect(none).toBeUndefined();
    },
  );

  test("packs no cluster that is known, and none of an encrypted image", async () => {
    const [known, unknown, encrypted] = [
      ...(await packer.pack(
        [
          { bytes: text(), knownPrint: fingerprint(text()) },
          { bytes: text(), knownPrint: fingerprint(noise()) },
        ],
        "zlib",
      )),
      ...(await packer.pack([{ bytes: text() }], undefined)),
    ];
    expect(known?.packed).toBeUndefined();
    expect(unknown?.packed).toBeDefined();
    expect(encrypted?.packed).toBeUndefined();
    expect(encrypted?.print).toEqual(fingerprint(text()));
  });
});

test("any changed byte changes the fingerprint", () => {
  const before = fingerprint(text());
  for (let at = 0; at < CLUSTER; at += 97) {
    const bytes = text();
    bytes[at] = (bytes[at] ?? 0) ^ (1 << (at % 8));
    expect(samePrint(before, fingerprint(bytes))).toBe(false);
  }
});

test("a table of fingerprints is read as it was written, and knows what it has", () => {
  const table = new PrintTable(10);
  table.set(4, Int32Array.of(1, -2, 3, 4));
  table.set(9, Int32Array.of(-1, 0, 0, 0));
  const again = PrintTable.decode(3, table.encode(3));
  expect([...again.known()]).toEqual([4, 9]);
  expect(again.has(4, Int32Array.of(1, -2, 3, 4))).toBe(true);
  expect(again.has(4, Int32Array.of(1, -2, 3, 5))).toBe(false);
  expect(again.get(5)).toBeUndefined();
  expect(again.get(100)).toBeUndefined();
});

test("one byte is enough not to be zeros", () => {
  const bytes = new Uint8Array(4096);
  expect(isAllZero(bytes)).toBe(true);
  for (const at of [0, 1, 17, 4095]) {
    bytes[at] = 1;
    expect(isAllZero(bytes)).toBe(false);
    bytes[at] = 0;
  }
});
