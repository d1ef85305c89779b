import { FitAddon } from "@xterm/addon-fit";
import { Terminal } from "@xterm/xterm";
import { useEffect, useRef, useState } from "react";
import "@xterm/xterm/css/xterm.css";
import { TerminalTools } from "../machine-tools/terminal-tools.tsx";
import { usePreference } from "../machine-tools/use-preference.ts";
import type { MachineSession } from "../open/machine-session.ts";
import styles from "./serial-terminal.module.css";

export interface SerialTerminalProps {
  session: MachineSession;
  /** Takes the keyboard when it is first shown. Default: false. */
  focusAtOnce?: boolean;
  /** Whether keys go to the terminal now. */
  onKeys: (on: boolean) => void;
  run: (action: () => Promise<unknown>) => void;
}

const FONT_SIZE = 13;

/** The guest's first serial port. What it wrote before this was shown is written into it first. */
export function SerialTerminal({ session, focusAtOnce = false, onKeys, run }: SerialTerminalProps) {
  const box = useRef<HTMLDivElement>(null);
  const keysListener = useRef(onKeys);
  keysListener.current = onKeys;
  const takesFocus = useRef(focusAtOnce);
  const runLatest = useRef(run);
  runLatest.current = run;
  const [shown, setShown] = useState<{ readonly terminal: Terminal; readonly fit: FitAddon }>();
  const [fontSize, setFontSize] = usePreference("terminalFontSize", FONT_SIZE);

  useEffect(() => {
    const outer = box.current;
    if (!outer) return;
    const style = getComputedStyle(outer);
    const terminal = new Terminal({
      fontFamily: style.getPropertyValue("--font-mono"),
      fontSize: FONT_SIZE,
      scrollback: 5000,
      theme: {
        background: style.getPropertyValue("--screen"),
        foreground: style.getPropertyValue("--screen-ink"),
        cursor: style.getPropertyValue("--screen-ink"),
      },
    });
    const fit = new FitAddon();
    terminal.loadAddon(fit);
    terminal.open(outer);
    terminal.textarea?.setAttribute(
      "aria-label",
      "Serial terminal. Keys go to the guest; Control Alt G leaves it.",
    );
    // What was printed before may hold questions to the terminal that were answered then: not again.
    let replaying = 0;
    const replay = (text: string) => {
      replaying++;
      terminal.write(text, () => replaying--);
    };
    replay(session.serial.text());
    const endOutput = session.serial.onOutput((text) => terminal.write(text));
    const endResets = session.serial.onReset((text) => {
      terminal.reset();
      replay(text);
    });
    // As terminals do it, since Ctrl-C is the guest's. Ctrl-Shift-V is the browser's own.
    terminal.attachCustomKeyEventHandler((event) => {
      if (event.type !== "keydown" || event.code !== "KeyC" || !event.ctrlKey || !event.shiftKey) return true;
      event.preventDefault();
      if (terminal.hasSelection())
        runLatest.current(() => navigator.clipboard.writeText(terminal.getSelection()));
      return false;
    });
    terminal.onData((text) => {
      if (replaying === 0) session.serial.send(text);
    });
    const focused = () => keysListener.current(true);
    const blurred = () => keysListener.current(false);
    terminal.textarea?.addEventListener("focus", focused);
    terminal.textarea?.addEventListener("blur", blurred);
    // A hidden terminal has no size to fit to.
    const resized = new ResizeObserver(() => outer.clientWidth > 0 && fit.fit());
    resized.observe(outer);
    setShown({ terminal, fit });
    if (takesFocus.current) terminal.focus();
    return () => {
      setShown(undefined);
      resized.disconnect();
      endOutput();
      endResets();
      terminal.dispose();
    };
  }, [session]);

  useEffect(() => {
    if (!shown) return;
    shown.terminal.options.fontSize = fontSize;
    if (shown.terminal.element?.clientWidth) shown.fit.fit();
  }, [shown, fontSize]);

  return (
    <>
      <TerminalTools terminal={shown?.terminal} fontSize={fontSize} onFontSize={setFontSize} run={run} />
      <div className={styles.box} ref={box} />
    </>
  );
}
