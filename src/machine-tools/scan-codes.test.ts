import { describe, expect, it } from "vitest";
import { combinationCodes, pressCodes, releaseCodes } from "./scan-codes.ts";

describe("scan codes", () => {
  it("go down in order and come up in the opposite one", () => {
    expect(combinationCodes(["ControlLeft", "AltLeft", "Delete"])).toEqual([
      0x1d, 0x38, 0xe0, 0x53, 0xe0, 0xd3, 0xb8, 0x9d,
    ]);
  });

  it("keep the prefix of a key that has one", () => {
    expect(pressCodes("ArrowUp")).toEqual([0xe0, 0x48]);
    expect(releaseCodes("ArrowUp")).toEqual([0xe0, 0xc8]);
  });

  it("of Print Screen and Pause are their own", () => {
    expect(combinationCodes(["PrintScreen"])).toEqual([0xe0, 0x2a, 0xe0, 0x37, 0xe0, 0xb7, 0xe0, 0xaa]);
    expect(combinationCodes(["Pause"])).toEqual([0xe1, 0x1d, 0x45, 0xe1, 0x9d, 0xc5]);
    expect(combinationCodes(["AltLeft", "SysRq", "KeyB"])).toEqual([0x38, 0x54, 0x30, 0xb0, 0xd4, 0xb8]);
  });
});
