import { existsSync } from "node:fs";
import { open } from "node:fs/promises";
import { join } from "node:path";
import {
  type BlockDevice,
  createMemoryFile,
  createQcow2,
  type MemoryFile,
  openQcow2,
  type Qcow2Device,
  readQcow2Info,
} from "../../disk/index.ts";
import { openNodeFile } from "../../disk/node.ts";
import type { HeadlessMachine } from "../../emulator/node.ts";
import { PROMPT } from "../ready-state.ts";
import { CommandError, runCommand } from "../run-command.ts";
import { ROOT_FIRST_SECTOR } from "./recipe.ts";

/** What tests of the appliance share. */

export const IMAGE = join(import.meta.dirname, "../../public/appliances/linux.qcow2");

/** A boot takes some 10 s on a machine with nothing else to do. */
export const BOOT_TIMEOUT_MS = 120_000;
const COMMAND_TIMEOUT_MS = 60_000;

/** More of a disk than this is not read at once. */
const READ_BYTES = 1024 * 1024;

/** An overlay in memory: the image itself stays as it was built. */
export interface Overlay {
  readonly device: Qcow2Device;
  readonly file: MemoryFile;
}

/** @param snapshot of the image: the disk is over it as it was then. */
export async function makeOverlay(snapshot?: string): Promise<Overlay> {
  const file = createMemoryFile({ name: "overlay.qcow2" });
  const image = await openNodeFile(IMAGE);
  const { sizeBytes } = await readQcow2Info(image);
  await image.close();
  await createQcow2(file, { sizeBytes, backing: { name: IMAGE, format: "qcow2" } });
  return { file, device: await openOverlay(file, snapshot) };
}

export async function openOverlay(file: MemoryFile, snapshot?: string): Promise<Qcow2Device> {
  return await openQcow2(file, {
    writable: true,
    resolveBacking: async () => ({
      file: await openNodeFile(IMAGE),
      ...(snapshot !== undefined && { snapshot }),
    }),
  });
}

/** Waits for the next prompt after what is on the serial port already. */
export async function atPrompt(
  machine: HeadlessMachine,
  fromCharacter: number,
  timeoutMs: number,
): Promise<string> {
  const text = await machine.waitForText(PROMPT, { timeoutMs, fromCharacter });
  return text.slice(fromCharacter);
}

/** Runs a command in the shell on the serial port. */
export async function run(
  machine: HeadlessMachine,
  command: string,
  timeoutMs = COMMAND_TIMEOUT_MS,
): Promise<string> {
  const fromCharacter = machine.serial.text().length;
  machine.serial.send(`${command}\n`);
  return atPrompt(machine, fromCharacter, timeoutMs);
}

export function stopped(machine: HeadlessMachine): Promise<void> {
  return new Promise((resolve, reject) => {
    const look = () => {
      if (machine.state === "stopped") resolve();
      else if (machine.state === "error") reject(new Error(machine.error?.message));
    };
    machine.onChange(look);
    look();
  });
}

/** Writes the root partition of a disk into a sparse file. */
export async function writeRootPartition(disk: BlockDevice, path: string): Promise<void> {
  const startBytes = ROOT_FIRST_SECTOR * 512;
  const file = await open(path, "w");
  try {
    await file.truncate(disk.sizeBytes - startBytes);
    const piece = Buffer.alloc(READ_BYTES);
    const zeros = Buffer.alloc(READ_BYTES);
    for (let atBytes = startBytes; atBytes < disk.sizeBytes; atBytes += READ_BYTES) {
      const part = piece.subarray(0, Math.min(READ_BYTES, disk.sizeBytes - atBytes));
      await disk.read(atBytes, part);
      if (!part.equals(zeros.subarray(0, part.length)))
        await file.write(part, 0, part.length, atBytes - startBytes);
    }
  } finally {
    await file.close();
  }
}

/**
 * Runs e2fsck on a file system in a file.
 *
 * @returns what it printed; undefined where the host has none.
 * @throws CommandError when its exit code is not 0: there was something to mend.
 */
export async function e2fsck(path: string, ...options: string[]): Promise<string | undefined> {
  const program = ["/usr/sbin/e2fsck", "/sbin/e2fsck"].find((candidate) => existsSync(candidate)) ?? "e2fsck";
  try {
    return await runCommand(program, [...options, path]);
  } catch (error) {
    if (!(error instanceof CommandError && error.exitCode === undefined)) throw error;
    console.warn("e2fsck is missing (package e2fsprogs): file systems were not looked at from outside.");
    return undefined;
  }
}
