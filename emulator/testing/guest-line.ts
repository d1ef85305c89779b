import { type BlockDevice, createMemoryFile, openRawDevice } from "../../disk/index.ts";
import type { Machine, MachineConfiguration, MachineDisks, MachineState } from "../machine.ts";
import { type HeadlessMachine, startHeadlessMachine } from "../node.ts";
import { TINY_GUEST_BANNER, tinyGuestImage } from "./tiny-guest.ts";

/** For a test that hangs to say where, well before the test runner gives up. */
const ANSWER_TIMEOUT_MS = 10_000;

/** The tiny guest at the other end of the serial line. */
export interface GuestLine {
  readonly machine: HeadlessMachine;
  /** Sends a command and waits for its line of answer, returned without the newline. */
  ask(command: string): Promise<string>;
  /** Sends a command and does not wait. */
  tell(command: string): void;
  /** Waits for the next line; `ask` after `tell` would take the wrong one. */
  answer(): Promise<string>;
  /** Waits for the guest to have booted, once more than before. */
  booted(): Promise<void>;
}

export function memoryDisk(sizeBytes: number): BlockDevice {
  return openRawDevice(createMemoryFile({ name: "hda.raw", content: tinyGuestImage(sizeBytes) }));
}

/** Boots the tiny guest from `hda`. The test closes the machine. */
export async function startTinyGuest(
  disks: MachineDisks,
  configuration: Partial<MachineConfiguration> = {},
): Promise<GuestLine> {
  const machine = await startHeadlessMachine({
    disks,
    configuration: { memoryMiB: 16, vgaMemoryMiB: 1, ...configuration },
  });
  const line = guestLine(machine);
  await line.booted();
  return line;
}

/**
 * The line to a tiny guest that runs, or is about to.
 *
 * @param read characters of its output that are not looked at any more.
 */
export function guestLine(machine: HeadlessMachine, read = 0): GuestLine {
  machine.serial.onReset((text) => {
    read = text.length;
  });
  const wait = async (pattern: string) => {
    const text = await machine.waitForText(pattern, { timeoutMs: ANSWER_TIMEOUT_MS, fromCharacter: read });
    const found = text.slice(read);
    read = text.length;
    return found;
  };
  const line: GuestLine = {
    machine,
    async ask(command) {
      machine.serial.send(command);
      return line.answer();
    },
    tell(command) {
      machine.serial.send(command);
    },
    answer: async () => (await wait("\n")).trimEnd(),
    async booted() {
      await wait(TINY_GUEST_BANNER);
    },
  };
  return line;
}

/** Resolves when the machine is in this state. */
export function stateReached(machine: Machine, state: MachineState): Promise<void> {
  return new Promise((resolve) => {
    const remove = machine.onChange(() => look());
    const look = () => {
      if (machine.state !== state) return;
      remove();
      resolve();
    };
    look();
  });
}

/** A command's number: eight hex digits. */
export function hex8(value: number): string {
  return value.toString(16).toUpperCase().padStart(8, "0");
}

export function hex2(value: number): string {
  return value.toString(16).toUpperCase().padStart(2, "0");
}

/**
 * Lets the guest run for a number of its 1 ms slices: for a test that something has not happened though it
 * had the time to. In Node v86 takes a busy guest's next slice by setImmediate, so slices and turns alternate.
 */
export async function guestSlices(count: number): Promise<void> {
  for (let slice = 0; slice < count; slice++) await new Promise((resolve) => setImmediate(resolve));
}
