import type { Readable, Writable } from "node:stream";
import type { Machine } from "../machine.ts";

const CTRL_A = "\x01";

const HELP = [
  "",
  "Ctrl-A X        leave: what the guest has written is stored, and the machine ends",
  "Ctrl-A R        try again what a disk could not do",
  "Ctrl-A H        this help",
  "Ctrl-A Ctrl-A   types Ctrl-A",
  "",
].join("\r\n");

/** Where a person sits, or a pipe. */
export interface TerminalStreams {
  readonly input: Readable & { isTTY?: boolean; setRawMode?(raw: boolean): unknown };
  readonly output: Writable;
}

export interface TerminalEvents {
  onLeave(): void;
  onRetry(): void;
}

/**
 * Puts a machine's serial port on a terminal: what is typed goes to the guest as it is, Ctrl-C too, but for what
 * follows Ctrl-A.
 *
 * @returns takes it off again, and gives the terminal back as it was.
 */
export function attachTerminal(
  machine: Machine,
  { input, output }: TerminalStreams,
  events: TerminalEvents,
): () => void {
  const decoder = new TextDecoder();
  let escaped = false;
  const command = (key: string): string => {
    if (key === CTRL_A) return CTRL_A;
    if (key === "x" || key === "X") events.onLeave();
    else if (key === "r" || key === "R") events.onRetry();
    else if (key === "h" || key === "H" || key === "?") output.write(HELP);
    return "";
  };
  const onData = (bytes: Uint8Array) => {
    let typed = "";
    for (const key of decoder.decode(bytes, { stream: true })) {
      if (escaped) typed += command(key);
      else if (key !== CTRL_A) typed += key;
      escaped = !escaped && key === CTRL_A;
    }
    if (typed !== "") machine.serial.send(typed);
  };
  const setRaw = (raw: boolean) => {
    if (input.isTTY) input.setRawMode?.(raw);
  };
  const restore = () => setRaw(false);
  // A shell that stopped us and goes on has put its own mode back.
  const onContinue = () => setRaw(true);

  setRaw(true);
  // However the process ends, the terminal is usable again.
  process.on("exit", restore);
  process.on("SIGCONT", onContinue);
  output.write(machine.serial.text());
  const stopOutput = machine.serial.onOutput((text) => void output.write(text));
  input.on("data", onData);
  return () => {
    stopOutput();
    input.off("data", onData);
    input.pause();
    process.off("exit", restore);
    process.off("SIGCONT", onContinue);
    restore();
  };
}
