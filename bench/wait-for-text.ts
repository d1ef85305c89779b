import type { Machine } from "../emulator/index.ts";

const TIMEOUT_MS = 240_000;

/** Waits until the serial output, from a character on, holds a text. */
export function waitForText(machine: Machine, text: string, from: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(
      () => reject(new Error(`no ${text} in ${TIMEOUT_MS} ms: ${machine.serial.text().slice(-500)}`)),
      TIMEOUT_MS,
    );
    const look = () => {
      if (!machine.serial.text().includes(text, from)) return;
      clearTimeout(timer);
      end();
      resolve();
    };
    const end = machine.serial.onOutput(look);
    look();
  });
}
