import { beforeEach, describe, expect, it } from "vitest";
import { FIRST_ROW, LAST_ROW, LETTER_ROWS, OTHER_ROWS } from "./on-screen-keyboard-keys.ts";
import { pressCodes } from "./scan-codes.ts";
import { createStickyKeys, type StickyKeys } from "./sticky-keys.ts";

let sent: number[];
let keys: StickyKeys;

beforeEach(() => {
  sent = [];
  const sendScancodes = async (codes: readonly number[]) => void sent.push(...codes);
  keys = createStickyKeys({ sendScancodes }, () => {});
});

function tap(...names: Parameters<StickyKeys["press"]>[0][]): void {
  for (const name of names) {
    keys.press(name);
    keys.release(name);
  }
}

describe("sticky keys", () => {
  it("hold a modifier for one other key", () => {
    tap("ControlLeft", "AltLeft");
    expect([...keys.held]).toEqual([
      ["ControlLeft", "once"],
      ["AltLeft", "once"],
    ]);
    tap("Delete");
    expect(sent).toEqual([0x1d, 0x38, 0xe0, 0x53, 0xe0, 0xd3, 0xb8, 0x9d]);
    expect(keys.held.size).toBe(0);
  });

  it("hold one that was pressed twice until it is pressed again", () => {
    tap("ShiftLeft", "ShiftLeft", "KeyA", "KeyB");
    expect(sent).toEqual([0x2a, 0x1e, 0x9e, 0x30, 0xb0]);
    expect([...keys.held]).toEqual([["ShiftLeft", "locked"]]);
    tap("ShiftLeft");
    expect(sent.at(-1)).toBe(0xaa);
    expect(keys.held.size).toBe(0);
  });

  it("repeat a key that stays down, and let go of it once", () => {
    keys.press("ArrowUp");
    keys.press("ArrowUp");
    keys.release("ArrowUp");
    keys.release("ArrowUp");
    expect(sent).toEqual([0xe0, 0x48, 0xe0, 0x48, 0xe0, 0xc8]);
  });

  it("let go of everything when the keyboard goes away", () => {
    tap("ShiftLeft", "ShiftLeft", "AltLeft");
    keys.press("KeyA");
    keys.close();
    expect(sent).toEqual([0x2a, 0x38, 0x1e, 0x9e, 0xb8, 0xaa]);
    expect(keys.held.size).toBe(0);
  });
});

it("every key of the keyboard on the screen is one of a PC", () => {
  const all = [...FIRST_ROW, ...LETTER_ROWS.flat(), ...OTHER_ROWS.flat(), ...LAST_ROW];
  for (const { code, cap } of all) {
    expect(pressCodes(code)?.length, cap).toBeGreaterThan(0);
  }
});
