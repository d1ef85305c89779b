import { expect, test } from "vitest";
import { isAllZero } from "./zero-bytes.ts";

test("finds a byte that is not zero wherever it stands, and none outside the part asked for", () => {
  for (let offset = 0; offset < 9; offset++) {
    const bytes = new Uint8Array(new ArrayBuffer(80), offset, 40);
    expect(isAllZero(bytes)).toBe(true);
    for (let at = 0; at < bytes.length; at++) {
      bytes[at] = 1;
      expect(isAllZero(bytes)).toBe(false);
      expect(isAllZero(bytes, at, at + 1)).toBe(false);
      expect(isAllZero(bytes, 0, at)).toBe(true);
      expect(isAllZero(bytes, at + 1)).toBe(true);
      bytes[at] = 0;
    }
  }
});
