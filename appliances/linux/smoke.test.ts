import { existsSync } from "node:fs";
import { mkdtemp, open, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import {
  type BlockDevice,
  createMemoryFile,
  createQcow2,
  openQcow2,
  readQcow2Info,
} from "../../disk/index.ts";
import { openNodeFile } from "../../disk/node.ts";
import { type HeadlessMachine, startHeadlessMachine } from "../../emulator/node.ts";
import { CommandError, runCommand } from "../run-command.ts";
import { ROOT_FIRST_SECTOR } from "./recipe.ts";

const IMAGE = join(import.meta.dirname, "../../public/appliances/linux.qcow2");
const PROMPT = "linux:~# ";

/** A boot takes some 10 s on a machine with nothing else to do. */
const BOOT_TIMEOUT_MS = 120_000;
const COMMAND_TIMEOUT_MS = 30_000;

/** The image itself stays as it was built: the guest writes to an overlay in memory. */
async function openOverlay(): Promise<BlockDevice> {
  const overlay = createMemoryFile({ name: "overlay.qcow2" });
  const image = await openNodeFile(IMAGE);
  const { sizeBytes } = await readQcow2Info(image);
  await image.close();
  await createQcow2(overlay, { sizeBytes, backing: { name: IMAGE, format: "qcow2" } });
  return openQcow2(overlay, { writable: true, resolveBacking: () => openNodeFile(IMAGE) });
}

/** Waits for the next prompt after what is on the serial port already. */
async function atPrompt(machine: HeadlessMachine, fromCharacter: number, timeoutMs: number): Promise<string> {
  const text = await machine.waitForText(PROMPT, { timeoutMs, fromCharacter });
  return text.slice(fromCharacter);
}

async function run(machine: HeadlessMachine, command: string): Promise<string> {
  const fromCharacter = machine.serial.text().length;
  machine.serial.send(`${command}\n`);
  return atPrompt(machine, fromCharacter, COMMAND_TIMEOUT_MS);
}

function stopped(machine: HeadlessMachine): Promise<void> {
  return new Promise((resolve, reject) => {
    const look = () => {
      if (machine.state === "stopped") resolve();
      else if (machine.state === "error") reject(new Error(machine.error?.message));
    };
    machine.onChange(look);
    look();
  });
}

/** Checks the root file system from outside with e2fsck, which ends with 0 only when there is nothing to mend. */
async function checkRootFileSystem(disk: BlockDevice): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "byre-appliance-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  const path = join(folder, "root.ext4");
  const file = await open(path, "w");
  const startBytes = ROOT_FIRST_SECTOR * 512;
  const chunk = Buffer.alloc(1024 * 1024);
  const zeros = Buffer.alloc(chunk.length);
  await file.truncate(disk.sizeBytes - startBytes);
  for (let atBytes = startBytes; atBytes < disk.sizeBytes; atBytes += chunk.length) {
    const part = chunk.subarray(0, Math.min(chunk.length, disk.sizeBytes - atBytes));
    await disk.read(atBytes, part);
    if (!part.equals(zeros.subarray(0, part.length)))
      await file.write(part, 0, part.length, atBytes - startBytes);
  }
  // The superblock 1 KiB in: s_state says "cleanly unmounted", and the journal has nothing to replay.
  const superblock = Buffer.alloc(1024);
  await disk.read(startBytes + 1024, superblock);
  await file.close();
  expect(superblock.readUInt16LE(0x3a) & 1, "unmounted cleanly").toBe(1);
  expect(superblock.readUInt32LE(0x60) & 4, "the journal needs recovery").toBe(0);

  const e2fsck = ["/usr/sbin/e2fsck", "/sbin/e2fsck"].find((candidate) => existsSync(candidate)) ?? "e2fsck";
  await runCommand(e2fsck, ["-f", "-n", path]).catch((error: unknown) => {
    if (!(error instanceof CommandError && error.exitCode === undefined)) throw error;
    console.warn("e2fsck is missing (package e2fsprogs): only the superblock was looked at.");
  });
}

describe.skipIf(!existsSync(IMAGE) && process.env.CI !== "true")("the Linux appliance", () => {
  test("boots, keeps a file across a reboot and powers off with a clean file system", {
    timeout: 3 * BOOT_TIMEOUT_MS,
  }, async () => {
    const disk = await openOverlay();
    onTestFinished(() => disk.close());
    const machine = await startHeadlessMachine({ disks: { hda: disk } });
    onTestFinished(() => machine.close());

    await atPrompt(machine, 0, BOOT_TIMEOUT_MS);
    expect(await run(machine, "uname -a")).toMatch(/^Linux linux 6\.\S+ .* i[56]86 GNU\/Linux/m);
    expect(await run(machine, "echo home=$HOME; id -u")).toMatch(/home=\/root\s+0\s/);
    expect(await run(machine, "cat /sys/block/sda/queue/write_cache")).toContain("write back");
    expect(machine.screen.text()).toContain(PROMPT.trim());

    await run(machine, "echo 'the cow is in' > note; sync");
    const before = machine.serial.text().length;
    machine.serial.send("reboot\n");
    // The shell prompts once more before it is ended; the one that the next boot starts introduces itself.
    await machine.waitForText(/built-in shell[\s\S]*linux:~# /, {
      timeoutMs: BOOT_TIMEOUT_MS,
      fromCharacter: before,
    });
    expect(await run(machine, "cat note")).toContain("the cow is in");

    machine.serial.send("poweroff\n");
    await stopped(machine);
    await checkRootFileSystem(disk);
  });
});
