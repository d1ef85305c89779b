import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdtemp, open, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { type BlockDevice, createMemoryFile, type Qcow2Device } from "../../disk/index.ts";
import { type HeadlessMachine, type HeadlessOptions, startHeadlessMachine } from "../../emulator/node.ts";
import { SNAPSHOT_NAME } from "../ready-state.ts";
import { CommandError, runCommand } from "../run-command.ts";
import {
  e2fsck,
  IMAGE,
  makeOverlay,
  type Overlay,
  openOverlay,
  run,
  stopped,
  writeRootPartition,
} from "./testing.ts";

/** For a machine that does much else besides. */
const TEST_TIMEOUT_MS = 900_000;
const ROUND_TRIPS = 20;
const SAVES_UNDER_LOAD = 2;
/** The key's codes: pressed, released. */
const ESCAPE = [0x01, 0x81];

async function start(options: HeadlessOptions): Promise<HeadlessMachine> {
  const machine = await startHeadlessMachine(options);
  onTestFinished(() => machine.close());
  return machine;
}

/** A machine from the appliance's saved state, over an overlay of its own. */
async function startReady(): Promise<Overlay & { machine: HeadlessMachine }> {
  const overlay = await makeOverlay(SNAPSHOT_NAME);
  onTestFinished(() => overlay.device.close());
  const { device } = overlay;
  const startFrom = { device: device.backing as Qcow2Device, snapshot: SNAPSHOT_NAME };
  return { ...overlay, machine: await start({ disks: { hda: device }, startFrom }) };
}

/** The same image, as another program finds it: what was not flushed is not there. */
async function reopen({ file }: Overlay): Promise<Qcow2Device> {
  const copy = createMemoryFile({ name: "copy.qcow2", content: file.toBytes() });
  const device = await openOverlay(copy, SNAPSHOT_NAME);
  onTestFinished(() => device.close());
  return device;
}

async function temporaryFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "byre-states-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

/** What a command printed, without its echo and the prompt after it. */
async function printed(machine: HeadlessMachine, command: string): Promise<string> {
  // In two parts, so that the mark is not in the echo.
  const text = await run(machine, `echo "<""<"; ${command}; echo ">"">"`);
  return /<<\r\n([\s\S]*)\r\n>>/.exec(text)?.[1]?.replaceAll("\r", "") ?? `nothing: ${text}`;
}

/** Waits until the text screen is as told; the guest draws when it gets to it. */
async function screenShows(machine: HeadlessMachine, text: string): Promise<void> {
  await expect.poll(() => machine.screen.text(), { timeout: 60_000, interval: 20 }).toContain(text);
}

/** Ends vi, once it says that it has written. */
async function writeAndQuit(machine: HeadlessMachine): Promise<void> {
  await machine.keyboard.sendScancodes(ESCAPE);
  // Keys that come at once would be taken for the rest of a function key.
  await screenShows(machine, "- letter");
  await machine.keyboard.sendText(":w\n");
  await screenShows(machine, "'letter' 1L,");
  await machine.keyboard.sendText(":q\n");
}

/** The numbers 1, 2, 3 ... a line each; how many, or what is not so. */
const COUNT_LINES = `awk 'NR != $1 { print "line " NR " is " $0; bad = 1; exit } END { if (!bad) print NR }' log`;

describe.skipIf(!existsSync(IMAGE) && process.env.CI !== "true")(
  "saved states of the Linux appliance",
  () => {
    test(`a counter, a file being written and an open editor go on exactly, ${ROUND_TRIPS} times in a row`, {
      timeout: TEST_TIMEOUT_MS,
    }, async () => {
      const { machine, device } = await startReady();
      await run(
        machine,
        // The count is ahead of the log, and written over and never cut: it is whole whenever it is read.
        "(n=0; until [ -e /dev/shm/stop ]; do n=$((n + 1)); printf '%09d\\n' $n 1<>/dev/shm/count; echo $n >>log; usleep 2000; done) &",
      );
      await machine.keyboard.sendText("vi letter\n");
      await screenShows(machine, "- letter");
      await machine.keyboard.sendText("iDear cow,");
      await screenShows(machine, "Dear cow,");
      let letter = "Dear cow,";
      let linesBefore = 0;

      for (let trip = 1; trip <= ROUND_TRIPS; trip++) {
        const saved = await machine.save("trip");
        expect(machine.snapshots().map(({ name }) => name)).toEqual(["trip"]);

        // Memory, disk and screen become what they were not.
        await machine.keyboard.sendText(" gone");
        await writeAndQuit(machine);
        await run(machine, "rm log; dd if=/dev/urandom of=/dev/shm/noise bs=64k count=16 2>/dev/null; sync");
        expect(await printed(machine, "cat letter")).toBe(`${letter} gone`);

        await machine.load(saved.id);
        expect(machine.screen.text().split("\n")[0]).toBe(letter);
        expect(await printed(machine, "ls /dev/shm letter 2>&1")).not.toMatch(/noise|^letter/m);
        const lines = Number(await printed(machine, COUNT_LINES));
        expect(lines).toBeGreaterThan(linesBefore);
        linesBefore = lines;
        expect(Number(await printed(machine, "cat /dev/shm/count"))).toBeGreaterThanOrEqual(lines);

        await machine.keyboard.sendText(` ${trip}`);
        letter += ` ${trip}`;
        await screenShows(machine, letter);
      }

      await writeAndQuit(machine);
      await run(machine, "echo >/dev/shm/stop; wait; sync; echo 3 >/proc/sys/vm/drop_caches");
      expect(await printed(machine, "cat letter")).toBe(letter);
      const lines = Number(await printed(machine, COUNT_LINES));
      expect(lines).toBe(Number(await printed(machine, "cat /dev/shm/count")));
      machine.serial.send("poweroff\n");
      await stopped(machine);
      const folder = await temporaryFolder();
      await writeRootPartition(device, join(folder, "root.ext4"));
      await e2fsck(join(folder, "root.ext4"), "-f", "-n");
    });

    test("a machine that goes on from the state that it was built with has the time of today", {
      timeout: TEST_TIMEOUT_MS,
    }, async () => {
      const { machine } = await startReady();
      await expect
        .poll(async () => Math.abs(Number(await printed(machine, "date +%s")) - Date.now() / 1000), {
          timeout: 60_000,
        })
        .toBeLessThan(10);
      // A date that somebody sets stays.
      await run(machine, "date -s @1000000000");
      await run(machine, "sleep 7");
      expect(await printed(machine, "date +%Y")).toBe("2001");
      // It has written nothing by all that.
      await run(machine, "sync");
      expect(machine.stats().bytesWritten).toBe(0);
    });

    test("saves while the guest writes and reads load to a clean file system, and QEMU finds the same disks", {
      timeout: TEST_TIMEOUT_MS,
    }, async () => {
      const { machine, device, file } = await startReady();
      await run(
        machine,
        "(for n in 1 2 3 4; do dd if=/dev/urandom of=big$n bs=64k count=32; find / -xdev >list$n; done; " +
          "sha256sum big* >sums; sync; echo all of it >done) >/dev/null 2>&1 &",
      );
      for (let save = 0; save < SAVES_UNDER_LOAD; save++) {
        const written = machine.stats().bytesWritten;
        await machine.save(`load ${save}`);
        // So that the next one finds another moment.
        await expect
          .poll(() => machine.stats().bytesWritten, { timeout: 60_000, interval: 10 })
          .toBeGreaterThan(written);
      }
      await machine.pause();
      await machine.deleteSnapshot("load 1");
      await machine.save("load 1");
      await machine.close();
      const folder = await temporaryFolder();
      await writeFile(join(folder, "overlay.qcow2"), file.toBytes());
      await qemuFindsTheSame(device, folder);

      for (const { name } of device.snapshots) {
        // The disk of that moment, as after a power cut: the journal brings it in order, and then nothing is wrong.
        const root = join(folder, "root.ext4");
        const then = await device.openSnapshot(name);
        await writeRootPartition(then, root);
        await then.close();
        await e2fsck(root, "-p");
        await e2fsck(root, "-f", "-n");

        // And the machine of that moment, which ends what it was at.
        const copy = await reopen({ device, file });
        const later = await start({ disks: { hda: copy }, startFrom: { device: copy, snapshot: name } });
        expect(await printed(later, "until [ -e done ]; do usleep 100000; done; cat done")).toBe("all of it");
        expect(await printed(later, "sha256sum -c sums | grep -c OK")).toBe("4");
        later.serial.send("poweroff\n");
        await stopped(later);
        await writeRootPartition(copy, root);
        await e2fsck(root, "-f", "-n");
        await later.close();
      }
    });
  },
);

/** `check` is clean, and each snapshot's disk is the same byte for byte. */
async function qemuFindsTheSame(device: Qcow2Device, folder: string): Promise<void> {
  const image = join(folder, "overlay.qcow2");
  try {
    await runCommand("qemu-img", ["check", image]);
  } catch (error) {
    if (!(error instanceof CommandError && error.exitCode === undefined)) throw error;
    console.warn("qemu-img is missing (package qemu-utils): nothing was compared with QEMU.");
    return;
  }
  for (const { name } of device.snapshots) {
    const raw = join(folder, "snapshot.raw");
    await runCommand("qemu-img", ["convert", "-l", `snapshot.name=${name}`, "-O", "raw", image, raw]);
    const then = await device.openSnapshot(name);
    expect(await hashOf(then), name).toBe(await hashOfFile(raw));
    await then.close();
  }
}

async function hashOf(disk: BlockDevice): Promise<string> {
  return await hashOfPieces(disk.sizeBytes, (offsetBytes, piece) => disk.read(offsetBytes, piece));
}

async function hashOfFile(path: string): Promise<string> {
  const file = await open(path);
  try {
    const { size } = await file.stat();
    return await hashOfPieces(size, async (offsetBytes, piece) => {
      await file.read(piece, 0, piece.length, offsetBytes);
    });
  } finally {
    await file.close();
  }
}

async function hashOfPieces(
  sizeBytes: number,
  read: (offsetBytes: number, piece: Buffer) => Promise<void>,
): Promise<string> {
  const hash = createHash("sha256");
  const piece = Buffer.alloc(1024 * 1024);
  const zeros = Buffer.alloc(piece.length);
  for (let at = 0; at < sizeBytes; at += piece.length) {
    const part = piece.subarray(0, Math.min(piece.length, sizeBytes - at));
    await read(at, part);
    // Most of it is zeros, which take their time to hash.
    if (!part.equals(zeros.subarray(0, part.length))) hash.update(`${at}:`).update(part);
  }
  return hash.update(String(sizeBytes)).digest("hex");
}
