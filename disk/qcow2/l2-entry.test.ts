import { describe, expect, test } from "vitest";
import {
  decodeExtendedEntry,
  decodeL2Entry,
  encodeCompressedEntry,
  encodeCopiedEntry,
  encodePlainEntry,
  subclusterKind,
} from "./l2-entry.ts";

describe("an L2 entry", () => {
  test("of zero is unallocated", () => {
    const entry = decodeL2Entry(0, 0, 16);
    expect(entry).toMatchObject({ kind: "plain", hostOffsetBytes: 0 });
    expect(subclusterKind(entry, 0)).toBe("unallocated");
  });

  test("keeps an offset above 4 GiB and the COPIED flag", () => {
    const { hi, lo } = encodeCopiedEntry(5 * 2 ** 32 + 0x30000);
    expect(hi).toBe(0x80000005);
    const entry = decodeL2Entry(hi, lo, 16);
    expect(entry).toMatchObject({ hostOffsetBytes: 5 * 2 ** 32 + 0x30000, copied: true });
    expect(subclusterKind(entry, 0)).toBe("data");
  });

  test("with bit 0 reads as zeros, with or without a cluster in reserve", () => {
    expect(subclusterKind(decodeL2Entry(0, 1, 16), 0)).toBe("zero");
    const reserve = decodeL2Entry(0x80000000, 0x50001, 16);
    expect(reserve).toMatchObject({ hostOffsetBytes: 0x50000, copied: true });
    expect(subclusterKind(reserve, 0)).toBe("zero");
  });

  test("extended, says it of each subcluster", () => {
    const entry = decodeExtendedEntry(0x80000000, 0x50000, 0x80000001, 0x00000006, 16);
    expect([0, 1, 2, 3, 31].map((i) => subclusterKind(entry, i))).toEqual([
      "zero",
      "data",
      "data",
      "unallocated",
      "zero",
    ]);
  });

  test("plain, comes back as it went in", () => {
    for (const zeros of [0, 1]) {
      const entry = {
        kind: "plain",
        hostOffsetBytes: 0x70000,
        copied: true,
        allocated: 1 - zeros,
        zeros,
      } as const;
      const { hi, lo } = encodePlainEntry(entry, zeros === 1);
      expect(decodeL2Entry(hi, lo, 16)).toEqual(entry);
    }
  });

  test.each([9, 12, 16, 21])(
    "compressed, comes back as it went in with clusters of 2^%i bytes",
    (clusterBits) => {
      const hostOffsetBytes = 3 * 2 ** 33 + 1234;
      const lengthBytes = 2 ** clusterBits - 100;
      const { hi, lo } = encodeCompressedEntry(hostOffsetBytes, lengthBytes, clusterBits);
      const entry = decodeL2Entry(hi, lo, clusterBits);
      expect(entry).toMatchObject({ kind: "compressed", hostOffsetBytes });
      if (entry.kind !== "compressed") return;
      // The length is known to whole sectors of the file only.
      const end = hostOffsetBytes + entry.lengthBytes;
      expect(end % 512).toBe(0);
      expect(end - (hostOffsetBytes + lengthBytes)).toBeGreaterThanOrEqual(0);
      expect(end - (hostOffsetBytes + lengthBytes)).toBeLessThan(512);
    },
  );
});
