import type { KeyName } from "./scan-codes.ts";

export const KEYBOARD_ID = "on-screen-keyboard";

/** One key of the keyboard on the screen. */
export interface ScreenKey {
  readonly code: KeyName;
  /** What is on it, and how it is called where that is a sign. */
  readonly cap: string;
  readonly name?: string;
  /** What is on it while Shift is held. */
  readonly shifted?: string;
  /** In widths of a letter. Default: 1. */
  readonly width?: number;
}

/** Held until the next other key is pressed; pressed twice, until it is pressed again. */
export const MODIFIERS: readonly KeyName[] = ["ShiftLeft", "ControlLeft", "AltLeft", "MetaLeft"];

const letters = (text: string): ScreenKey[] =>
  [...text].map((letter) => ({
    code: `Key${letter.toUpperCase()}` as KeyName,
    cap: letter,
    shifted: letter.toUpperCase(),
  }));
const digits: ScreenKey[] = [..."1234567890"].map((digit, index) => ({
  code: `Digit${digit}` as KeyName,
  cap: digit,
  shifted: "!@#$%^&*()"[index] ?? "",
}));
const functions = (names: readonly KeyName[]): ScreenKey[] => names.map((code) => ({ code, cap: code }));

/** On top whatever else is shown. */
export const FIRST_ROW: readonly ScreenKey[] = [
  { code: "Escape", cap: "Esc" },
  { code: "Tab", cap: "Tab" },
  { code: "ControlLeft", cap: "Ctrl" },
  { code: "AltLeft", cap: "Alt" },
  { code: "MetaLeft", cap: "Win" },
  { code: "ArrowLeft", cap: "←", name: "Left" },
  { code: "ArrowDown", cap: "↓", name: "Down" },
  { code: "ArrowUp", cap: "↑", name: "Up" },
  { code: "ArrowRight", cap: "→", name: "Right" },
];

const SHIFT: ScreenKey = { code: "ShiftLeft", cap: "Shift", width: 1.5 };
const BACKSPACE: ScreenKey = { code: "Backspace", cap: "⌫", name: "Backspace", width: 1.5 };

export const LETTER_ROWS: readonly (readonly ScreenKey[])[] = [
  digits,
  letters("qwertyuiop"),
  [...letters("asdfghjkl"), { code: "Semicolon", cap: ";", shifted: ":" }],
  [SHIFT, ...letters("zxcvbnm"), BACKSPACE],
];

export const OTHER_ROWS: readonly (readonly ScreenKey[])[] = [
  functions(["F1", "F2", "F3", "F4", "F5", "F6", "F7", "F8", "F9", "F10"]),
  [
    ...functions(["F11", "F12"]),
    { code: "Insert", cap: "Ins" },
    { code: "Delete", cap: "Del" },
    { code: "Home", cap: "Home" },
    { code: "End", cap: "End" },
    { code: "PageUp", cap: "PgUp" },
    { code: "PageDown", cap: "PgDn" },
  ],
  [
    { code: "Backquote", cap: "`", shifted: "~" },
    { code: "Minus", cap: "-", shifted: "_" },
    { code: "Equal", cap: "=", shifted: "+" },
    { code: "BracketLeft", cap: "[", shifted: "{" },
    { code: "BracketRight", cap: "]", shifted: "}" },
    { code: "Backslash", cap: "\\", shifted: "|" },
    { code: "Semicolon", cap: ";", shifted: ":" },
    { code: "Quote", cap: "'", shifted: '"' },
    { code: "Slash", cap: "/", shifted: "?" },
  ],
  [
    SHIFT,
    { code: "CapsLock", cap: "Caps", width: 1.5 },
    { code: "PrintScreen", cap: "PrtSc", width: 1.5 },
    { code: "Pause", cap: "Pause", width: 1.5 },
    { code: "ContextMenu", cap: "Menu", width: 1.5 },
    BACKSPACE,
  ],
];

/** Beside the key that changes between the two. */
export const LAST_ROW: readonly ScreenKey[] = [
  { code: "Comma", cap: ",", shifted: "<" },
  { code: "Space", cap: "Space", width: 4 },
  { code: "Period", cap: ".", shifted: ">" },
  { code: "Enter", cap: "Enter", width: 2 },
];
