import type { KeyName } from "./scan-codes.ts";

/** Keys that a browser or a system keeps for itself, and how they are called. */
export interface KeyCombination {
  readonly label: string;
  readonly keys: readonly KeyName[];
  /** What it does in many a guest. */
  readonly detail?: string;
}

export interface KeyGroup {
  readonly label: string;
  readonly combinations: readonly KeyCombination[];
}

/** The most wanted, at the top. */
export const FIRST_COMBINATIONS: readonly KeyCombination[] = [
  { label: "Ctrl-Alt-Del", keys: ["ControlLeft", "AltLeft", "Delete"] },
  { label: "Alt-Tab", keys: ["AltLeft", "Tab"], detail: "next window" },
  { label: "Alt-F4", keys: ["AltLeft", "F4"], detail: "close" },
  { label: "Ctrl-Esc", keys: ["ControlLeft", "Escape"] },
  { label: "Windows key", keys: ["MetaLeft"] },
  { label: "Print Screen", keys: ["PrintScreen"] },
];

const FUNCTION_KEYS = ["F1", "F2", "F3", "F4", "F5", "F6", "F7", "F8", "F9", "F10", "F11", "F12"] as const;

/** The rest, in menus of their own. */
export const KEY_GROUPS: readonly KeyGroup[] = [
  {
    label: "F1 to F12",
    combinations: FUNCTION_KEYS.map((key) => ({ label: key, keys: [key] })),
  },
  {
    label: "Ctrl-Alt-F1 to F7",
    combinations: FUNCTION_KEYS.slice(0, 7).map((key) => ({
      label: `Ctrl-Alt-${key}`,
      keys: ["ControlLeft", "AltLeft", key],
    })),
  },
  {
    label: "Ctrl with a letter",
    combinations: [
      { label: "Ctrl-N", keys: ["ControlLeft", "KeyN"] },
      { label: "Ctrl-T", keys: ["ControlLeft", "KeyT"] },
      { label: "Ctrl-W", keys: ["ControlLeft", "KeyW"] },
      { label: "Ctrl-Tab", keys: ["ControlLeft", "Tab"] },
      { label: "Ctrl-Shift-N", keys: ["ControlLeft", "ShiftLeft", "KeyN"] },
      { label: "Ctrl-Shift-T", keys: ["ControlLeft", "ShiftLeft", "KeyT"] },
      { label: "Ctrl-Shift-W", keys: ["ControlLeft", "ShiftLeft", "KeyW"] },
      { label: "Ctrl-Shift-Esc", keys: ["ControlLeft", "ShiftLeft", "Escape"] },
    ],
  },
  {
    label: "Kept by this page",
    combinations: [
      { label: "Ctrl-Alt-G", keys: ["ControlLeft", "AltLeft", "KeyG"] },
      { label: "Ctrl-Alt-R", keys: ["ControlLeft", "AltLeft", "KeyR"] },
      { label: "Ctrl-Alt-S", keys: ["ControlLeft", "AltLeft", "KeyS"] },
    ],
  },
  {
    label: "More keys",
    combinations: [
      { label: "Ctrl-Alt-Backspace", keys: ["ControlLeft", "AltLeft", "Backspace"] },
      { label: "Alt-Esc", keys: ["AltLeft", "Escape"] },
      { label: "Alt-Space", keys: ["AltLeft", "Space"] },
      { label: "Alt-F2", keys: ["AltLeft", "F2"] },
      { label: "Menu key", keys: ["ContextMenu"] },
      { label: "Pause", keys: ["Pause"] },
      { label: "Caps Lock", keys: ["CapsLock"] },
    ],
  },
  {
    label: "SysRq, for Linux",
    combinations: [
      { label: "Alt-SysRq-H", keys: ["AltLeft", "SysRq", "KeyH"], detail: "help" },
      { label: "Alt-SysRq-R", keys: ["AltLeft", "SysRq", "KeyR"], detail: "keyboard back" },
      { label: "Alt-SysRq-E", keys: ["AltLeft", "SysRq", "KeyE"], detail: "end programs" },
      { label: "Alt-SysRq-I", keys: ["AltLeft", "SysRq", "KeyI"], detail: "kill programs" },
      { label: "Alt-SysRq-S", keys: ["AltLeft", "SysRq", "KeyS"], detail: "write to disk" },
      { label: "Alt-SysRq-U", keys: ["AltLeft", "SysRq", "KeyU"], detail: "disks read-only" },
      { label: "Alt-SysRq-B", keys: ["AltLeft", "SysRq", "KeyB"], detail: "restart" },
    ],
  },
];
