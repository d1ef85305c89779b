import { useCallback, useEffect, useState } from "react";
import { type Preferences, readPreference, writePreference } from "../library/preferences.ts";

/** A kept preference: `otherwise` until it was read. What is chosen is kept for the next time. */
export function usePreference<Key extends keyof Preferences>(
  key: Key,
  otherwise: Preferences[Key],
): readonly [Preferences[Key], (value: Preferences[Key]) => void] {
  const [value, setValue] = useState(otherwise);
  useEffect(() => {
    let gone = false;
    void readPreference(key).then((stored) => {
      if (!gone) setValue(stored);
    });
    return () => {
      gone = true;
    };
  }, [key]);
  const choose = useCallback(
    (next: Preferences[Key]) => {
      setValue(next);
      void writePreference(key, next);
    },
    [key],
  );
  return [value, choose];
}
