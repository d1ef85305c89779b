import type { MachineSerial } from "./machine.ts";
import { MAX_SERIAL_TAIL_CHARACTERS } from "./state-format.ts";
import { createTextTail } from "./text-tail.ts";
import type { V86Emulator, V86Uart } from "./v86-internals.ts";

/** The receive buffer of a 16550A. v86's own has no bound, so nothing is lost; but a guest expects one. */
const FIFO_BYTES = 16;

/** Characters of output kept for `text()`. */
const KEPT_CHARACTERS = 1024 * 1024;

/** Bytes of output collected in one turn of the event loop before they grow. */
const FIRST_OUTPUT_BYTES = 4096;

/** RIS: a terminal forgets what it showed. */
const TERMINAL_RESET = "\x1bc";

/** The first serial port, and what the machine does for it. It outlives the emulator it is attached to. */
export interface SerialPort extends MachineSerial {
  /** Takes this emulator's port from now on. */
  attach(emulator: V86Emulator): void;
  /**
   * Gives the guest what it has room for. Called before each slice of the guest's time.
   *
   * @returns whether more waits, so that the next slice should come soon.
   */
  feed(): boolean;
  /** Forgets what was sent and not taken: the machine was reset. */
  clearInput(): void;
  /**
   * The end of the output, from the beginning of a line or the terminal's last reset: what a terminal is shown
   * again after a load.
   */
  tail(): string;
  /** A saved state has brought its own output. */
  replace(text: string): void;
}

export function createSerialPort(): SerialPort {
  let current: { emulator: V86Emulator; uart: V86Uart } | undefined;
  let output = createOutput();
  let kept = createTextTail(KEPT_CHARACTERS);
  const listeners = new Set<(text: string) => void>();
  const resets = new Set<(text: string) => void>();
  let scheduled = false;

  const deliver = () => {
    scheduled = false;
    const text = output.take();
    if (text === "") return;
    kept.append(text);
    for (const listener of listeners) listener(text);
  };

  let pending = new Uint8Array(0);
  let sent = 0;
  return {
    attach(emulator) {
      current = { emulator, uart: emulator.v86.cpu.devices.uart0 };
      emulator.add_listener("serial0-output-byte", (byte: number) => {
        output.push(byte);
        if (scheduled) return;
        scheduled = true;
        // A microtask, not an animation frame: frames do not come while the page is hidden. The guest runs for
        // 1 ms a turn, so there are at most about a thousand batches a second.
        queueMicrotask(deliver);
      });
    },
    send(text) {
      const rest = pending.subarray(sent);
      const more = new TextEncoder().encode(text);
      pending = new Uint8Array(rest.length + more.length);
      pending.set(rest);
      pending.set(more, rest.length);
      sent = 0;
      if (current?.emulator.is_running()) this.feed();
    },
    feed() {
      if (!current || sent === pending.length) return false;
      const { uart } = current;
      if (uart.input.length === 0) {
        const end = Math.min(sent + FIFO_BYTES, pending.length);
        while (sent < end) uart.data_received(pending[sent++] ?? 0);
      }
      return sent < pending.length;
    },
    clearInput() {
      pending = new Uint8Array(0);
      sent = 0;
    },
    text() {
      deliver();
      return kept.text();
    },
    tail() {
      const all = this.text();
      const cleared = all.lastIndexOf(TERMINAL_RESET);
      const text = cleared < 0 ? all : all.slice(cleared + TERMINAL_RESET.length);
      if (text.length <= MAX_SERIAL_TAIL_CHARACTERS) return text;
      const end = text.slice(-MAX_SERIAL_TAIL_CHARACTERS);
      return end.slice(end.indexOf("\n") + 1);
    },
    replace(text) {
      deliver();
      output = createOutput();
      kept = createTextTail(KEPT_CHARACTERS);
      kept.append(text);
      for (const listener of resets) listener(text);
    },
    onOutput(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    onReset(listener) {
      resets.add(listener);
      return () => resets.delete(listener);
    },
  } satisfies SerialPort as SerialPort;
}

function createOutput(): { push(byte: number): void; take(): string } {
  const decoder = new TextDecoder();
  let bytes = new Uint8Array(FIRST_OUTPUT_BYTES);
  let length = 0;
  return {
    push(byte) {
      if (length === bytes.length) {
        const larger = new Uint8Array(bytes.length * 2);
        larger.set(bytes);
        bytes = larger;
      }
      bytes[length++] = byte;
    },
    take() {
      const text = decoder.decode(bytes.subarray(0, length), { stream: true });
      length = 0;
      return text;
    },
  };
}
