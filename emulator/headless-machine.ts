import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { ByreError } from "../disk/index.ts";
import type { Machine, MachineOptions } from "./machine.ts";
import { nodePacker } from "./node-packer.ts";
import { startMachine } from "./start-machine.ts";

/** What a machine without a page is; firmware and wasm are found here. */
export type HeadlessOptions = Omit<MachineOptions, "firmware" | "wasm" | "screenElement">;

export interface WaitOptions {
  timeoutMs: number;
  /** Where in `serial.text()` to begin; 0 when left out. */
  fromCharacter?: number;
}

/** A machine and what a script wants of it besides. */
export interface HeadlessMachine extends Machine {
  /**
   * Waits for `pattern` in the serial output.
   *
   * @returns all serial output up to and including the match.
   * @throws ByreError CANCELLED with the end of the output when it did not come in time, or when the machine
   *   came to rest (stopped, error) without it.
   */
  waitForText(pattern: string | RegExp, options: WaitOptions): Promise<string>;
}

/** Characters of output that a failure to match quotes. */
const QUOTED_CHARACTERS = 600;

/**
 * Starts a machine in Node, with firmware and wasm from node_modules and its serial port as the way in.
 */
export async function startHeadlessMachine(options: HeadlessOptions): Promise<HeadlessMachine> {
  const [bios, vgaBios, wasm] = await Promise.all([
    readPackageFile("v86-firmware/bios/seabios.bin"),
    readPackageFile("v86-firmware/bios/vgabios.bin"),
    readPackageFile("v86/build/v86.wasm"),
  ]);
  const machine = await startMachine({
    packer: nodePacker,
    ...options,
    firmware: { bios, vgaBios },
    wasm,
  });
  return Object.assign(machine, {
    waitForText: (pattern: string | RegExp, waitOptions: WaitOptions) =>
      waitForText(machine, pattern, waitOptions),
  });
}

async function readPackageFile(path: string): Promise<ArrayBuffer> {
  const bytes = await readFile(createRequire(import.meta.url).resolve(path));
  return bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength) as ArrayBuffer;
}

function waitForText(machine: Machine, pattern: string | RegExp, options: WaitOptions): Promise<string> {
  const from = options.fromCharacter ?? 0;
  const find = () => {
    const text = machine.serial.text();
    const tail = text.slice(from);
    const match = typeof pattern === "string" ? tail.indexOf(pattern) : tail.search(pattern);
    if (match < 0) return undefined;
    const length = typeof pattern === "string" ? pattern.length : (tail.match(pattern)?.[0].length ?? 0);
    return text.slice(0, from + match + length);
  };
  return new Promise((resolve, reject) => {
    let removers: (() => void)[] = [];
    const finish = (settle: () => void) => {
      clearTimeout(timer);
      for (const remove of removers) remove();
      removers = [];
      settle();
    };
    const fail = (reason: string) => {
      const end = machine.serial.text().slice(-QUOTED_CHARACTERS);
      finish(() =>
        reject(
          new ByreError(
            "CANCELLED",
            `${reason} before ${pattern} was on the serial port. The output ends:\n${end}`,
            {
              pattern: String(pattern),
            },
          ),
        ),
      );
    };
    const timer = setTimeout(() => fail(`${options.timeoutMs} ms passed`), options.timeoutMs);
    const look = () => {
      const found = find();
      if (found !== undefined) finish(() => resolve(found));
      else if (machine.state === "stopped") fail("The machine stopped");
      else if (machine.state === "error") fail(`The machine met an error (${machine.error?.message})`);
    };
    removers = [machine.serial.onOutput(look), machine.onChange(look)];
    look();
  });
}
