import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import type { BlockDevice } from "../../disk/index.ts";
import { startHeadlessMachine } from "../../emulator/node.ts";
import { PROMPT } from "../ready-state.ts";
import { ROOT_FIRST_SECTOR } from "./recipe.ts";
import {
  atPrompt,
  BOOT_TIMEOUT_MS,
  e2fsck,
  IMAGE,
  makeOverlay,
  run,
  stopped,
  writeRootPartition,
} from "./testing.ts";

/** Checks the root file system from outside with e2fsck, which ends with 0 only when there is nothing to mend. */
async function checkRootFileSystem(disk: BlockDevice): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "byre-appliance-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  // The superblock 1 KiB in: s_state says "cleanly unmounted", and the journal has nothing to replay.
  const superblock = Buffer.alloc(1024);
  await disk.read(ROOT_FIRST_SECTOR * 512 + 1024, superblock);
  expect(superblock.readUInt16LE(0x3a) & 1, "unmounted cleanly").toBe(1);
  expect(superblock.readUInt32LE(0x60) & 4, "the journal needs recovery").toBe(0);
  await writeRootPartition(disk, join(folder, "root.ext4"));
  await e2fsck(join(folder, "root.ext4"), "-f", "-n");
}

describe.skipIf(!existsSync(IMAGE) && process.env.CI !== "true")("the Linux appliance", () => {
  test("boots, keeps a file across a reboot and powers off with a clean file system", {
    timeout: 3 * BOOT_TIMEOUT_MS,
  }, async () => {
    const { device: disk } = await makeOverlay();
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
