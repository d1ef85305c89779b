/** Keys of a PC's keyboard, by their names in `KeyboardEvent.code`, and their PS/2 set-1 scan codes when pressed. */
const PRESS = {
  Escape: [0x01],
  Digit1: [0x02],
  Digit2: [0x03],
  Digit3: [0x04],
  Digit4: [0x05],
  Digit5: [0x06],
  Digit6: [0x07],
  Digit7: [0x08],
  Digit8: [0x09],
  Digit9: [0x0a],
  Digit0: [0x0b],
  Minus: [0x0c],
  Equal: [0x0d],
  Backspace: [0x0e],
  Tab: [0x0f],
  KeyQ: [0x10],
  KeyW: [0x11],
  KeyE: [0x12],
  KeyR: [0x13],
  KeyT: [0x14],
  KeyY: [0x15],
  KeyU: [0x16],
  KeyI: [0x17],
  KeyO: [0x18],
  KeyP: [0x19],
  BracketLeft: [0x1a],
  BracketRight: [0x1b],
  Enter: [0x1c],
  ControlLeft: [0x1d],
  KeyA: [0x1e],
  KeyS: [0x1f],
  KeyD: [0x20],
  KeyF: [0x21],
  KeyG: [0x22],
  KeyH: [0x23],
  KeyJ: [0x24],
  KeyK: [0x25],
  KeyL: [0x26],
  Semicolon: [0x27],
  Quote: [0x28],
  Backquote: [0x29],
  ShiftLeft: [0x2a],
  Backslash: [0x2b],
  KeyZ: [0x2c],
  KeyX: [0x2d],
  KeyC: [0x2e],
  KeyV: [0x2f],
  KeyB: [0x30],
  KeyN: [0x31],
  KeyM: [0x32],
  Comma: [0x33],
  Period: [0x34],
  Slash: [0x35],
  ShiftRight: [0x36],
  AltLeft: [0x38],
  Space: [0x39],
  CapsLock: [0x3a],
  F1: [0x3b],
  F2: [0x3c],
  F3: [0x3d],
  F4: [0x3e],
  F5: [0x3f],
  F6: [0x40],
  F7: [0x41],
  F8: [0x42],
  F9: [0x43],
  F10: [0x44],
  /** Print Screen while Alt is held. */
  SysRq: [0x54],
  F11: [0x57],
  F12: [0x58],
  ControlRight: [0xe0, 0x1d],
  AltRight: [0xe0, 0x38],
  Home: [0xe0, 0x47],
  ArrowUp: [0xe0, 0x48],
  PageUp: [0xe0, 0x49],
  ArrowLeft: [0xe0, 0x4b],
  ArrowRight: [0xe0, 0x4d],
  End: [0xe0, 0x4f],
  ArrowDown: [0xe0, 0x50],
  PageDown: [0xe0, 0x51],
  Insert: [0xe0, 0x52],
  Delete: [0xe0, 0x53],
  MetaLeft: [0xe0, 0x5b],
  MetaRight: [0xe0, 0x5c],
  ContextMenu: [0xe0, 0x5d],
  PrintScreen: [0xe0, 0x2a, 0xe0, 0x37],
  /** Says that it is released with being pressed. */
  Pause: [0xe1, 0x1d, 0x45, 0xe1, 0x9d, 0xc5],
} as const satisfies Record<string, readonly number[]>;

export type KeyName = keyof typeof PRESS;

const RELEASED = 0x80;

/** What the keyboard sends when a key goes down. */
export function pressCodes(key: KeyName): readonly number[] {
  return PRESS[key];
}

/** What the keyboard sends when a key comes up. */
export function releaseCodes(key: KeyName): readonly number[] {
  if (key === "Pause") return [];
  if (key === "PrintScreen") return [0xe0, 0xb7, 0xe0, 0xaa];
  const codes: readonly number[] = PRESS[key];
  return codes.map((code) => (code === 0xe0 ? code : code | RELEASED));
}

/** Keys pressed one after the other and let go in the opposite order. */
export function combinationCodes(keys: readonly KeyName[]): number[] {
  return [...keys.flatMap(pressCodes), ...keys.toReversed().flatMap(releaseCodes)];
}

const MODIFIERS = [
  "ControlLeft",
  "ShiftLeft",
  "ShiftRight",
  "AltLeft",
  "ControlRight",
  "AltRight",
  "MetaLeft",
  "MetaRight",
] as const satisfies readonly KeyName[];

/**
 * Lets modifiers go: one that stays down changes all that is typed after it. For a guest that does not have them down it
 * is nothing.
 *
 * @param isMeant by the name of a modifier. Default: all of them.
 */
export function modifierReleases(isMeant: (key: string) => boolean = () => true): number[] {
  return MODIFIERS.filter(isMeant).flatMap(releaseCodes);
}
