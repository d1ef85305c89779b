import type { MachineKeyboard } from "./machine.ts";
import type { V86Emulator } from "./v86-internals.ts";

/**
 * Between two keys. v86's keyboard controller holds 32 bytes and drops what comes when it is full; a key with
 * Shift is six. A guest reads one a keyboard interrupt, well within this.
 */
const KEY_INTERVAL_MS = 10;

/** The keyboard of a machine. It outlives the emulator it is attached to. */
export interface Keyboard extends MachineKeyboard {
  /** Types into this emulator from now on. */
  attach(emulator: V86Emulator): void;
}

/** @param emulator the first one. */
export function createKeyboard(first: V86Emulator): Keyboard {
  let emulator = first;
  let enabled = false;
  emulator.keyboard_set_enabled(enabled);
  let line: Promise<unknown> = Promise.resolve();
  // One after the other: the bytes of two keys between each other would be other keys.
  const inLine = (send: () => Promise<void>): Promise<void> => {
    const sent = line.then(send);
    line = sent.catch(() => undefined);
    return sent;
  };
  return {
    attach(next) {
      emulator = next;
      emulator.keyboard_set_enabled(enabled);
    },
    setEnabled(now) {
      enabled = now;
      emulator.keyboard_set_enabled(now);
    },
    sendText: (text) =>
      inLine(async () => {
        // v86 sends simulated keys through the same gate as real ones, so the gate is held open for each.
        for (const character of text) {
          emulator.keyboard_set_enabled(true);
          await emulator.keyboard_send_text(character);
          emulator.keyboard_set_enabled(enabled);
          await new Promise((resolve) => setTimeout(resolve, KEY_INTERVAL_MS));
        }
      }),
    sendScancodes: (codes) => inLine(() => emulator.keyboard_send_scancodes(codes, KEY_INTERVAL_MS)),
  };
}
