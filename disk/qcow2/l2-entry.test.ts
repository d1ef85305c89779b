import { describe, expect, test } from "vitest";
import { decodeL2Entry, encodeCompressedEntry, encodeCopiedEntry } from "./l2-entry.ts";

describe("an L2 entry", () => {
  test("of zero is unallocated", () => {
    expect(decodeL2Entry(0, 0, 16, true)).toEqual({ kind: "unallocated" });
  });

  test("keeps an offset above 4 GiB and the COPIED flag", () => {
    const { hi, lo } = encodeCopiedEntry(5 * 2 ** 32 + 0x30000);
    expect(hi).toBe(0x80000005);
    expect(decodeL2Entry(hi, lo, 16, true)).toEqual({
      kind: "data",
      hostOffsetBytes: 5 * 2 ** 32 + 0x30000,
      copied: true,
    });
  });

  test("with bit 0 reads as zeros in version 3, and is data in version 2", () => {
    expect(decodeL2Entry(0, 1, 16, true)).toEqual({
      kind: "zero",
      hostOffsetBytes: undefined,
      copied: false,
    });
    expect(decodeL2Entry(0x80000000, 0x50001, 16, true)).toEqual({
      kind: "zero",
      hostOffsetBytes: 0x50000,
      copied: true,
    });
    expect(decodeL2Entry(0, 0x50001, 16, false)).toMatchObject({ kind: "data", hostOffsetBytes: 0x50000 });
  });

  test.each([9, 12, 16, 21])(
    "compressed, comes back as it went in with clusters of 2^%i bytes",
    (clusterBits) => {
      const hostOffsetBytes = 3 * 2 ** 33 + 1234;
      const lengthBytes = 2 ** clusterBits - 100;
      const { hi, lo } = encodeCompressedEntry(hostOffsetBytes, lengthBytes, clusterBits);
      const entry = decodeL2Entry(hi, lo, clusterBits, true);
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
