import type { Terminal } from "@xterm/xterm";
import { AArrowDown, AArrowUp, ClipboardPaste, Copy, Eraser } from "lucide-react";
import { useEffect, useState } from "react";
import { Toolbar } from "react-aria-components/Toolbar";
import { IconButton } from "../components/icon-button.tsx";
import { readClipboard } from "./read-clipboard.ts";
import styles from "./tool-strip.module.css";
import { useSaid } from "./use-said.ts";

/** CSS pixels. */
export const LEAST_FONT_SIZE = 8;
export const MOST_FONT_SIZE = 28;

export interface TerminalToolsProps {
  /** Undefined until it is there. */
  terminal: Terminal | undefined;
  fontSize: number;
  onFontSize: (size: number) => void;
  run: (action: () => Promise<unknown>) => void;
}

/** What can be done with the serial terminal, above it. */
export function TerminalTools({ terminal, fontSize, onFontSize, run }: TerminalToolsProps) {
  const [said, say] = useSaid();
  const [selects, setSelects] = useState(false);
  useEffect(() => {
    const listening = terminal?.onSelectionChange(() => setSelects(terminal.hasSelection()));
    return () => listening?.dispose();
  }, [terminal]);
  const copy = async () => {
    if (!terminal) return;
    await navigator.clipboard.writeText(selects ? terminal.getSelection() : wholeText(terminal));
    say(selects ? "Selection copied" : "All of it copied");
  };
  const paste = async () => {
    const text = await readClipboard();
    terminal?.paste(text);
    terminal?.focus();
  };
  const isDisabled = terminal === undefined;
  return (
    <div className={styles.strip}>
      <span className={styles.title}>Terminal</span>
      <span className={styles.said} role="status">
        {said}
      </span>
      <Toolbar aria-label="Terminal tools" className={styles.tools ?? ""}>
        <IconButton
          label={selects ? "Copy the selection" : "Copy everything"}
          icon={Copy}
          isDisabled={isDisabled}
          onPress={() => run(copy)}
        />
        <IconButton label="Paste" icon={ClipboardPaste} isDisabled={isDisabled} onPress={() => run(paste)} />
        <IconButton
          label="Clear the terminal"
          icon={Eraser}
          isDisabled={isDisabled}
          onPress={() => terminal?.clear()}
        />
        <IconButton
          label="Smaller letters"
          icon={AArrowDown}
          isDisabled={fontSize <= LEAST_FONT_SIZE}
          onPress={() => onFontSize(fontSize - 1)}
        />
        <IconButton
          label="Larger letters"
          icon={AArrowUp}
          isDisabled={fontSize >= MOST_FONT_SIZE}
          onPress={() => onFontSize(fontSize + 1)}
        />
      </Toolbar>
    </div>
  );
}

/** All that the terminal still has, lines that were too long for it in one. */
export function wholeText({ buffer: { active } }: Pick<Terminal, "buffer">): string {
  let text = "";
  for (let row = 0; row < active.length; row++) {
    const line = active.getLine(row);
    if (!line) continue;
    const goesOn = active.getLine(row + 1)?.isWrapped ?? false;
    text += line.translateToString(!goesOn) + (goesOn ? "" : "\n");
  }
  return `${text.trimEnd()}\n`;
}
