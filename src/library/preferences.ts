import { createStore, get, set, type UseStore } from "idb-keyval";

/** What a person set; lives in a small database of its own. */
export interface Preferences {
  theme: Theme;
  screenSize: ScreenSize;
  /** CSS pixels. */
  terminalFontSize: number;
  sound: SoundChoice;
}

export type Theme = "system" | "light" | "dark";

/** `whole`: the largest whole multiple that fits, which is sharp. `fill`: as large as the window allows. */
export type ScreenSize = "whole" | "fill";

export interface SoundChoice {
  readonly muted: boolean;
  /** 0 to 1. */
  readonly volume: number;
}

const DEFAULTS: Preferences = {
  theme: "system",
  screenSize: "whole",
  terminalFontSize: 13,
  sound: { muted: false, volume: 1 },
};

let store: UseStore | undefined;

/** The stored value, or the default when nothing is stored or storage is closed to the page. */
export async function readPreference<Key extends keyof Preferences>(key: Key): Promise<Preferences[Key]> {
  try {
    store ??= createStore("byre-preferences", "preferences");
    return (await get<Preferences[Key]>(key, store)) ?? DEFAULTS[key];
  } catch {
    return DEFAULTS[key];
  }
}

/** Keeps a value. A preference that cannot be kept is no reason to stop: it holds until the page closes. */
export async function writePreference<Key extends keyof Preferences>(
  key: Key,
  value: Preferences[Key],
): Promise<void> {
  try {
    store ??= createStore("byre-preferences", "preferences");
    await set(key, value, store);
  } catch {
    // See above.
  }
}
