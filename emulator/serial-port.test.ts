import { afterEach, expect, test } from "vitest";
import { type GuestLine, memoryDisk, startTinyGuest } from "./testing/guest-line.ts";

let guest: GuestLine | undefined;
afterEach(async () => {
  await guest?.machine.close();
  guest = undefined;
});

test("a paste of 4 KiB arrives whole and in order", async () => {
  guest = await startTinyGuest({ hda: memoryDisk(1024 * 1024) });
  const line = Array.from({ length: 1024 }, (_, index) => index.toString(36).padStart(4, "_")).join("");
  expect(await guest.ask(`E${line}\n`)).toBe(line);
});

test("text is UTF-8 both ways, and output comes in batches", async () => {
  guest = await startTinyGuest({ hda: memoryDisk(1024 * 1024) });
  const text = "Grüße, мир, 世界, 🐄";
  const batches: string[] = [];
  guest.machine.serial.onOutput((batch) => batches.push(batch));
  expect(await guest.ask(`E${text}\n`)).toBe(text);
  expect(batches.join("")).toBe(`${text}\n`);
  expect(batches.length).toBeLessThan(new TextEncoder().encode(text).length / 2);
});

test("a listener that was removed hears no more", async () => {
  guest = await startTinyGuest({ hda: memoryDisk(1024 * 1024) });
  let heard = "";
  const remove = guest.machine.serial.onOutput((batch) => {
    heard += batch;
  });
  await guest.ask("Eone\n");
  remove();
  await guest.ask("Etwo\n");
  expect(heard).toBe("one\n");
});
