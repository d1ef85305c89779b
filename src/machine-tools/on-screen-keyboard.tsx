import { useEffect, useReducer, useRef, useState } from "react";
import type { MachineKeyboard } from "../../emulator/index.ts";
import styles from "./on-screen-keyboard.module.css";
import {
  FIRST_ROW,
  KEYBOARD_ID,
  LAST_ROW,
  LETTER_ROWS,
  MODIFIERS,
  OTHER_ROWS,
  type ScreenKey,
} from "./on-screen-keyboard-keys.ts";
import { createStickyKeys, type StickyKeys } from "./sticky-keys.ts";

/** As keyboards do: how long until a key repeats, and how fast. */
const REPEAT_AFTER_MS = 500;
const REPEAT_EVERY_MS = 60;

/** A keyboard for the guest, for whoever has none at hand. */
export function OnScreenKeyboard({ keyboard }: { keyboard: MachineKeyboard }) {
  const [letters, setLetters] = useState(true);
  const [, refresh] = useReducer((count: number) => count + 1, 0);
  const keys = useRef<StickyKeys>(undefined);
  keys.current ??= createStickyKeys(keyboard, refresh);
  useEffect(() => () => keys.current?.close(), []);
  const { current: sticky } = keys;
  const shifted = sticky.held.has("ShiftLeft");
  const row = (keysOfRow: readonly ScreenKey[]) =>
    keysOfRow.map((key) => <Key key={key.code} {...key} isShifted={shifted} sticky={sticky} />);
  return (
    // Keys are the guest's: what had the keyboard before keeps it.
    <section
      id={KEYBOARD_ID}
      className={styles.keyboard}
      aria-label="Keyboard"
      onPointerDown={(event) => event.preventDefault()}
      onMouseDown={(event) => event.preventDefault()}
    >
      <div className={styles.row}>{row(FIRST_ROW)}</div>
      {(letters ? LETTER_ROWS : OTHER_ROWS).map((keysOfRow) => (
        <div key={keysOfRow[0]?.code} className={styles.row}>
          {row(keysOfRow)}
        </div>
      ))}
      <div className={styles.row}>
        <button
          type="button"
          className={styles.key}
          style={{ flexGrow: 2 }}
          onClick={() => setLetters(!letters)}
        >
          {letters ? "F1 [ ]" : "abc"}
          <span className="visually-hidden">{letters ? ": other keys" : ": letters"}</span>
        </button>
        {row(LAST_ROW)}
      </div>
    </section>
  );
}

interface KeyProps extends ScreenKey {
  isShifted: boolean;
  sticky: StickyKeys;
}

function Key({ code, cap, name, shifted, width = 1, isShifted, sticky }: KeyProps) {
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined);
  const pointed = useRef(false);
  const held = sticky.held.get(code);
  const isModifier = MODIFIERS.includes(code);
  useEffect(() => () => clearTimeout(timer.current), []);
  const press = () => {
    sticky.press(code);
    if (isModifier) return;
    const repeat = () => {
      sticky.press(code);
      timer.current = setTimeout(repeat, REPEAT_EVERY_MS);
    };
    timer.current = setTimeout(repeat, REPEAT_AFTER_MS);
  };
  const release = () => {
    clearTimeout(timer.current);
    sticky.release(code);
  };
  return (
    <button
      type="button"
      className={styles.key}
      data-held={held}
      style={{ flexGrow: width }}
      aria-label={held === "locked" ? `${name ?? cap}, locked` : name}
      aria-pressed={isModifier ? held !== undefined : undefined}
      onPointerDown={(event) => {
        if (event.button !== 0) return;
        pointed.current = true;
        // The finger may slip off it before it is lifted.
        event.currentTarget.setPointerCapture(event.pointerId);
        press();
      }}
      onPointerUp={release}
      onPointerCancel={release}
      onClick={() => {
        // With a finger it was pressed already; this is for keys and for what reads the page out.
        if (pointed.current) pointed.current = false;
        else {
          sticky.press(code);
          sticky.release(code);
        }
      }}
    >
      {isShifted && shifted ? shifted : cap}
    </button>
  );
}
