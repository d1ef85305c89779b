import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterEach, expect, test } from "vitest";
import { type GuestLine, memoryDisk, startTinyGuest } from "./testing/guest-line.ts";

let guest: GuestLine | undefined;
afterEach(async () => {
  await guest?.machine.close();
  guest = undefined;
});

test("waiting in vain ends with the last of the output", async () => {
  guest = await startTinyGuest({ hda: memoryDisk(1024 * 1024) });
  await expect(guest.machine.waitForText("never", { timeoutMs: 1 })).rejects.toThrow(/tiny guest ready/);
});

test("waiting ends when the machine stops", async () => {
  guest = await startTinyGuest({ hda: memoryDisk(1024 * 1024) });
  const waiting = guest.machine.waitForText(/never/, { timeoutMs: 60_000 });
  guest.tell("P");
  await expect(waiting).rejects.toMatchObject({
    code: "CANCELLED",
    message: expect.stringContaining("stopped"),
  });
});

test("a pattern is found from a place on, and all before its end returned", async () => {
  guest = await startTinyGuest({ hda: memoryDisk(1024 * 1024) });
  await guest.ask("Eabc\n");
  const text = await guest.machine.waitForText(/b./, { timeoutMs: 1000, fromCharacter: 5 });
  expect(text.endsWith("\nabc")).toBe(true);
});

test("the VGA text says how far the firmware came", async () => {
  guest = await startTinyGuest({ hda: memoryDisk(1024 * 1024) });
  expect(guest.machine.screen.text()).toMatch(/^SeaBIOS .*\nBooting from Hard Disk\.\.\.$/);
});

test("nothing keeps Node alive once the machine is closed", async () => {
  const script = fileURLToPath(new URL("testing/boot-and-close.ts", import.meta.url));
  const { stdout } = await promisify(execFile)(process.execPath, ["--import", "tsx", script], {
    timeout: 60_000,
  });
  expect(stdout).toBe("closed\n");
}, 90_000);
