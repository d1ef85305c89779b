import { useEffect, useRef } from "react";

/** As people read them; `useSnapshotKeys` is where they are heard. */
export const SNAPSHOT_KEYS = { save: "Ctrl-Alt-S", restore: "Ctrl-Alt-R" } as const;

export interface SnapshotKeys {
  onSave: () => void;
  onRestore: () => void;
}

/**
 * Ctrl-Alt-S saves and Ctrl-Alt-R restores, whoever has the keyboard. Not Ctrl-Alt-L to load: half of the
 * Linux desktops lock the screen with it.
 */
export function useSnapshotKeys(keys: SnapshotKeys): void {
  const latest = useRef(keys);
  latest.current = keys;
  useEffect(() => {
    const press = (event: KeyboardEvent) => {
      // Windows reports AltGr as Ctrl and Alt; with it people type letters.
      if (!event.ctrlKey || !event.altKey || event.getModifierState("AltGraph")) return;
      if (event.code !== "KeyS" && event.code !== "KeyR") return;
      event.preventDefault();
      event.stopImmediatePropagation();
      if (event.repeat) return;
      if (event.code === "KeyS") latest.current.onSave();
      else latest.current.onRestore();
    };
    // In the capture phase of the window: before the terminal, and before the guest's keyboard.
    window.addEventListener("keydown", press, true);
    return () => window.removeEventListener("keydown", press, true);
  }, []);
}
