import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { maxRefcount, readRefcount, refcountBytes, writeRefcount } from "./refcount-entry.ts";

describe("refcount entries", () => {
  test("under a byte fill it from the least significant bit", () => {
    const block = new Uint8Array(4);
    writeRefcount(block, 1, 0, 1);
    expect(block[0]).toBe(0b10);
    writeRefcount(block, 3, 2, 0xa);
    expect(block[1]).toBe(0xa0);
    expect(readRefcount(Uint8Array.of(0b11_10_01_00), 3, 1)).toBe(3);
  });

  test.each([0, 1, 2, 3, 4, 5, 6])("of 2^%i bits come back, and touch no other", (order) => {
    const entries = 64;
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(entries - 1), fc.nat(2 ** 31)), { maxLength: 200 }), (writes) => {
        const block = new Uint8Array((entries * 2 ** order) / 8);
        const model = new Array<number>(entries).fill(0);
        for (const [index, value] of writes) {
          const count = value % (maxRefcount(order) + 1);
          writeRefcount(block, index, order, count);
          model[index] = count;
        }
        expect(model.map((_, index) => readRefcount(block, index, order))).toEqual(model);
      }),
    );
  });

  test("name the bytes they are in", () => {
    expect(refcountBytes(9, 0)).toEqual({ start: 1, end: 2 });
    expect(refcountBytes(3, 4)).toEqual({ start: 6, end: 8 });
    expect(refcountBytes(3, 6)).toEqual({ start: 24, end: 32 });
  });

  test("of 64 bits past the safe integers read as more than any real count", () => {
    expect(readRefcount(new Uint8Array(8).fill(0xff), 0, 6)).toBe(Number.POSITIVE_INFINITY);
  });
});
