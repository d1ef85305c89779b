import { createMemoryFile, createQcow2, openQcow2, type Qcow2Device } from "../disk/index.ts";
import { openNodeFile } from "../disk/node.ts";
import { type HeadlessMachine, startHeadlessMachine } from "../emulator/node.ts";

/** The saved state that the appliance starts from: at the prompt, nothing running. */
export const SNAPSHOT_NAME = "ready";

/** What the shell says when it waits for a command. */
export const PROMPT = "linux:~# ";

/** A boot takes some 10 s on a machine with nothing else to do. */
const BOOT_TIMEOUT_MS = 300_000;
const COMMAND_TIMEOUT_MS = 60_000;

/**
 * What is typed before the state is saved. Each line ends its shell, and init starts a new one: what a person
 * finds has no history, and a machine started from the state writes nothing by itself.
 */
const PREPARATION = [
  "rm -f ~/.ash_history; exit",
  // Cached files and directories are freed, and the kernel writes zeros into what is free (init_on_free). The
  // terminal is reset: it begins with the shell's first words.
  "rm -f ~/.ash_history; sync; echo 3 >/proc/sys/vm/drop_caches; sync; printf '\\033c'; exit",
];

/**
 * Boots a disk up to its prompt and saves the machine there.
 *
 * @param diskPath a raw disk; it stays as it is.
 * @returns an image in memory over that disk, whose disk is the snapshot's. Close it.
 * @throws ByreError when the guest does not get there in time.
 */
export async function saveReadyState(diskPath: string, log: (line: string) => void): Promise<Qcow2Device> {
  const image = await openOverlay(diskPath);
  try {
    const machine = await startHeadlessMachine({ disks: { hda: image } });
    try {
      log("booting it up to the prompt");
      await machine.waitForText(PROMPT, { timeoutMs: BOOT_TIMEOUT_MS });
      for (const command of PREPARATION) await freshShell(machine, command);
      // It stands still until it is gone: its disk stays what the state knows.
      await machine.pause();
      log("saving the machine");
      await machine.save(SNAPSHOT_NAME);
    } finally {
      await machine.close();
    }
    return image;
  } catch (error) {
    await image.close();
    throw error;
  }
}

async function openOverlay(diskPath: string): Promise<Qcow2Device> {
  const disk = await openNodeFile(diskPath);
  const { sizeBytes } = disk;
  await disk.close();
  const file = createMemoryFile({ name: "linux.qcow2" });
  await createQcow2(file, { sizeBytes, backing: { name: diskPath, format: "raw" } });
  return await openQcow2(file, { writable: true, resolveBacking: () => openNodeFile(diskPath) });
}

/** Runs a command that ends the shell, and waits for the prompt of the next one. */
async function freshShell(machine: HeadlessMachine, command: string): Promise<void> {
  const fromCharacter = machine.serial.text().length;
  machine.serial.send(`${command}\n`);
  // The shell that begins introduces itself; the one that ends has prompted already.
  await machine.waitForText(/built-in shell[\s\S]*linux:~# /, {
    timeoutMs: COMMAND_TIMEOUT_MS,
    fromCharacter,
  });
}
