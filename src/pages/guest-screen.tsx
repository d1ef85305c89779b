import { useEffect, useRef } from "react";
import type { ScreenSize } from "../library/preferences.ts";
import { modifierReleases } from "../machine-tools/scan-codes.ts";
import type { MachineSession } from "../open/machine-session.ts";
import { fitScreen } from "./fit-screen.ts";
import styles from "./guest-screen.module.css";

export interface GuestScreenProps {
  session: MachineSession;
  size: ScreenSize;
  /** Takes the keyboard when it is first shown. Default: true. */
  focusAtOnce?: boolean;
  /** Whether the guest's keyboard is the person's now. */
  onKeys: (on: boolean) => void;
}

/** The guest's VGA screen, as large and as sharp as the box allows. Keys go to it while it has the focus. */
export function GuestScreen({ session, size, focusAtOnce = true, onKeys }: GuestScreenProps) {
  const box = useRef<HTMLDivElement>(null);
  const latestSize = useRef(size);
  const down = useRef(new Set<string>());
  const { screenElement, keyboard, pointer } = session;

  useEffect(() => {
    const outer = box.current;
    if (!outer) return;
    outer.append(screenElement);
    const refit = () => applyFit(outer, screenElement, latestSize.current);
    const resized = new ResizeObserver(refit);
    resized.observe(outer);
    // The guest changes its mode by changing the size of the canvas.
    const changed = new MutationObserver(refit);
    changed.observe(screenElement, {
      subtree: true,
      childList: true,
      attributes: true,
      attributeFilter: ["width", "height"],
    });
    refit();
    // A finger that moves the guest's mouse does not scroll the page; React's own listener could not keep it from that.
    const keepFinger = (event: TouchEvent) => {
      if (hasMouse(session)) event.preventDefault();
    };
    outer.addEventListener("touchmove", keepFinger, { passive: false });
    if (focusAtOnce) outer.focus({ preventScroll: true });
    pointer.setEnabled(true);
    return () => {
      outer.removeEventListener("touchmove", keepFinger);
      pointer.setEnabled(false);
      resized.disconnect();
      changed.disconnect();
      keyboard.setEnabled(false);
      screenElement.remove();
    };
  }, [session, screenElement, keyboard, pointer, focusAtOnce]);

  useEffect(() => {
    latestSize.current = size;
    if (box.current) applyFit(box.current, screenElement, size);
  }, [screenElement, size]);

  return (
    <div
      ref={box}
      className={styles.box}
      // biome-ignore lint/a11y/noNoninteractiveTabindex: a guest's screen takes keys, like a text field
      tabIndex={0}
      role="application"
      aria-label="Guest screen. Keys go to the guest; Control Alt G leaves it."
      // The emulator's mouse takes the browser's own focusing away.
      onPointerDown={(event) => event.currentTarget.focus({ preventScroll: true })}
      onPointerUp={({ pointerType }) => {
        if (pointerType !== "mouse" || pointer.absolute || !hasMouse(session)) return;
        // Browsers refuse for a second after Escape; the next click does it then.
        pointer.lock().catch(() => {});
      }}
      onKeyDown={({ code }) => down.current.add(code)}
      onKeyUp={({ code }) => down.current.delete(code)}
      onFocus={() => {
        keyboard.setEnabled(true);
        onKeys(true);
      }}
      onBlur={() => {
        keyboard.setEnabled(false);
        // The guest will not hear of their being let go.
        const held = modifierReleases((key) => down.current.has(key));
        down.current.clear();
        if (held.length > 0) keyboard.sendScancodes(held).catch(() => {});
        onKeys(false);
      }}
    />
  );
}

/** A text screen has a mouse that few programs look at: there it is given by its button alone. */
function hasMouse({ pointer, screen }: MachineSession): boolean {
  return pointer.listening && screen.text() === "";
}

function applyFit(outer: HTMLElement, screen: HTMLElement, size: ScreenSize): void {
  const canvas = screen.querySelector("canvas");
  if (!canvas || outer.clientWidth === 0) return;
  const padding = 2 * Number.parseFloat(getComputedStyle(outer).paddingTop);
  const fit = fitScreen(
    { width: canvas.width, height: canvas.height },
    { width: outer.clientWidth - padding, height: outer.clientHeight - padding },
    devicePixelRatio,
    size,
  );
  outer.style.setProperty("--guest-width", `${fit.width}px`);
  outer.style.setProperty("--guest-height", `${fit.height}px`);
  outer.dataset.sharp = String(fit.sharp);
}
