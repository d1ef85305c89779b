import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { findNonZeroRuns, isZero } from "./worker-sparse.ts";

const SECTOR = 512;

/** A buffer of sectors, each all zeros or with one byte set somewhere. */
function sectors(pattern: readonly (number | undefined)[]): Buffer {
  const bytes = Buffer.alloc(pattern.length * SECTOR);
  for (const [i, at] of pattern.entries()) if (at !== undefined) bytes[i * SECTOR + (at % SECTOR)] = 1;
  return bytes;
}

describe("findNonZeroRuns", () => {
  it("writes everything when zeros are not looked for", () => {
    expect(findNonZeroRuns(Buffer.alloc(4096), 0, 0)).toEqual([0, 4096]);
  });

  it("finds nothing to write in zeros", () => {
    expect(findNonZeroRuns(Buffer.alloc(100 * SECTOR), 4096, 4096)).toEqual([]);
  });

  it("keeps whole pages, counted from the disk's start", () => {
    // Sectors 2 to 17 of the disk; the one that is set is its sector 9: in the page of sectors 8 to 15.
    const bytes = sectors(Array.from({ length: 16 }, (_, i) => (i === 7 ? 0 : undefined)));
    expect(findNonZeroRuns(bytes, 2 * SECTOR, 4096)).toEqual([6 * SECTOR, 8 * SECTOR]);
  });

  it("writes short runs of zeros along", () => {
    const bytes = sectors([0, undefined, undefined, 0, undefined, undefined, undefined, undefined, 0]);
    expect(findNonZeroRuns(bytes, 0, 3 * SECTOR)).toEqual([0, 4 * SECTOR, 8 * SECTOR, SECTOR]);
  });

  it("leaves out zeros only, and never a whole run of them that is long enough", () => {
    const pattern = fc.array(fc.option(fc.nat(SECTOR - 1), { nil: undefined }), {
      minLength: 1,
      maxLength: 80,
    });
    fc.assert(
      fc.property(pattern, fc.nat(40), fc.integer({ min: 1, max: 24 }), (set, startSector, minSectors) => {
        const bytes = sectors(set);
        const runs = findNonZeroRuns(bytes, startSector * SECTOR, minSectors * SECTOR);
        const copy = Buffer.alloc(bytes.length);
        let end = 0;
        for (let i = 0; i < runs.length; i += 2) {
          const [start = 0, length = 0] = runs.slice(i, i + 2);
          if (i > 0) expect(start - end).toBeGreaterThanOrEqual(minSectors * SECTOR);
          end = start + length;
          bytes.copy(copy, start, start, end);
        }
        expect(copy.equals(bytes)).toBe(true);
      }),
    );
  });
});

describe("isZero", () => {
  it("sees a single bit anywhere", () => {
    const bytes = Buffer.alloc(200_000);
    expect(isZero(bytes, 0, bytes.length)).toBe(true);
    for (const at of [0, 1, 65_535, 65_536, 99_999, 199_999]) {
      bytes[at] = 1;
      expect(isZero(bytes, 0, bytes.length), String(at)).toBe(false);
      bytes[at] = 0;
    }
  });
});
