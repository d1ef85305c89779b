import type { MachineKeyboard } from "../../emulator/index.ts";
import { combinationCodes } from "./scan-codes.ts";

/** At a hundred a second this takes a minute and a half; larger text goes in as a file. */
export const MAX_TYPED_CHARACTERS = 10_000;
/** Different ones that are named; more are no help. */
const MAX_NAMED = 12;

export interface TypeableText {
  /** What a US keyboard can type, with `\n` for every end of line. */
  readonly text: string;
  /** The first few characters, each once, that it cannot, and how many were left out altogether. */
  readonly leftOut: readonly string[];
  readonly leftOutCount: number;
}

/** Sorts out what the guest's keyboard, an American one, can type. */
export function typeableText(wanted: string): TypeableText {
  const leftOut = new Set<string>();
  let leftOutCount = 0;
  let text = "";
  for (const character of wanted.replaceAll("\r\n", "\n").replaceAll("\r", "\n")) {
    if (/[\n\t -~]/.test(character)) {
      text += character;
      continue;
    }
    leftOutCount++;
    if (leftOut.size < MAX_NAMED) leftOut.add(character);
  }
  return { text, leftOut: [...leftOut], leftOutCount };
}

export interface TypingOptions {
  /** Told how much is typed, 0 to 1. */
  readonly onProgress?: (fraction: number) => void;
  /** Aborted: no further key is pressed. */
  readonly signal?: AbortSignal;
}

/**
 * Presses the keys that make `text`, one after the other.
 *
 * @param text of `typeableText`.
 * @returns how many characters were typed: fewer than there are when it was aborted.
 */
export async function typeText(
  keyboard: Pick<MachineKeyboard, "sendText" | "sendScancodes">,
  text: string,
  { onProgress, signal }: TypingOptions = {},
): Promise<number> {
  let typed = 0;
  for (const character of text) {
    if (signal?.aborted) break;
    if (character === "\t") await keyboard.sendScancodes(combinationCodes(["Tab"]));
    else await keyboard.sendText(character);
    onProgress?.(++typed / text.length);
  }
  return typed;
}
