/** What a PC's keyboard sends when a modifier is let go (scan code set 1), by the browser's name of the key. */
const RELEASES: Readonly<Record<string, readonly number[]>> = {
  ControlLeft: [0x9d],
  ShiftLeft: [0xaa],
  ShiftRight: [0xb6],
  AltLeft: [0xb8],
  ControlRight: [0xe0, 0x9d],
  AltRight: [0xe0, 0xb8],
  MetaLeft: [0xe0, 0xdb],
  MetaRight: [0xe0, 0xdc],
};

/** Lets those of some keys go that are modifiers: one that stays down changes all that is typed after it. */
export function releaseCodes(keys: Iterable<string>): number[] {
  return [...keys].flatMap((key) => RELEASES[key] ?? []);
}

/** Lets all modifiers go. For a guest that does not have them down it is nothing. */
export const ALL_RELEASES: readonly number[] = releaseCodes(Object.keys(RELEASES));
