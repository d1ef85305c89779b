import { type RefObject, useEffect } from "react";

/**
 * Screen and terminal take every key, Tab included, so one combination has to lead out of them: Ctrl-Alt-G,
 * as in QEMU. The keyboard then is with the first button of the page.
 */
export function useKeyRelease(page: RefObject<HTMLElement | null>): void {
  useEffect(() => {
    const release = (event: KeyboardEvent) => {
      // AltGr counts as Ctrl and Alt too, and writes letters.
      if (!event.ctrlKey || !event.altKey || event.code !== "KeyG" || event.getModifierState("AltGraph"))
        return;
      event.preventDefault();
      event.stopImmediatePropagation();
      const leave = () => page.current?.querySelector<HTMLElement>("button, a[href]")?.focus();
      if (document.pointerLockElement) document.exitPointerLock();
      // There the button is not to be seen, and cannot have the focus.
      if (document.fullscreenElement) document.exitFullscreen().then(leave, leave);
      else leave();
    };
    // In the capture phase of the window: before the terminal, and before the guest's keyboard.
    window.addEventListener("keydown", release, true);
    return () => window.removeEventListener("keydown", release, true);
  }, [page]);
}
