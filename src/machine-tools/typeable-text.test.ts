import { describe, expect, it } from "vitest";
import { typeableText, typeText } from "./typeable-text.ts";

describe("typeable text", () => {
  it("is what an American keyboard has, with one kind of line end", () => {
    const all = Array.from({ length: 95 }, (_, index) => String.fromCharCode(32 + index)).join("");
    expect(typeableText(`${all}\r\na\tb\rc\n`)).toEqual({
      text: `${all}\na\tb\nc\n`,
      leftOut: [],
      leftOutCount: 0,
    });
  });

  it("says what it leaves out, each once, and how much", () => {
    expect(typeableText("äöä 🐄\0\u{1b}[2J")).toEqual({
      text: " [2J",
      leftOut: ["ä", "ö", "🐄", "\0", "\u{1b}"],
      leftOutCount: 6,
    });
    expect(typeableText("あいうえおかきくけこさしすせそ").leftOut).toHaveLength(12);
  });
});

describe("typing", () => {
  const keyboard = () => {
    const sent: unknown[] = [];
    return {
      sent,
      sendText: async (text: string) => void sent.push(text),
      sendScancodes: async (codes: readonly number[]) => void sent.push(codes),
    };
  };

  it("presses a key a character, the Tab key for a tab", async () => {
    const { sent, ...keys } = keyboard();
    const fractions: number[] = [];
    expect(await typeText(keys, "a\tB", { onProgress: (done) => fractions.push(done) })).toBe(3);
    expect(sent).toEqual(["a", [0x0f, 0x8f], "B"]);
    expect(fractions).toEqual([1 / 3, 2 / 3, 1]);
  });

  it("ends with the key that is being pressed when it is called off", async () => {
    const { sent, ...keys } = keyboard();
    const calledOff = new AbortController();
    const typed = await typeText(keys, "abc", {
      signal: calledOff.signal,
      onProgress: () => calledOff.abort(),
    });
    expect(typed).toBe(1);
    expect(sent).toEqual(["a"]);
  });
});
