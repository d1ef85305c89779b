import { type RefObject, useEffect, useRef } from "react";
import { isFocusLost } from "./focus-lost.ts";

/** Gives `place` the focus when `shown` has changed, and what had the focus went with what was shown before. */
export function useFocusKept(shown: unknown, place: RefObject<HTMLElement | null>): void {
  const before = useRef(shown);
  useEffect(() => {
    if (before.current !== shown && isFocusLost()) place.current?.focus();
    before.current = shown;
  }, [shown, place]);
}
