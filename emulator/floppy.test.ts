import { expect, test } from "vitest";
import { createMemoryFile, openRawDevice } from "../disk/index.ts";
import { openFloppy } from "./floppy.ts";

const FLOPPY_BYTES = 1440 * 1024;

test("what the guest wrote into the image goes to the device with a flush, and only that", async () => {
  const file = createMemoryFile({ content: new Uint8Array(FLOPPY_BYTES).fill(0x11) });
  const floppy = await openFloppy(openRawDevice(file));
  expect(floppy.dirtyBytes()).toBe(0);
  new Uint8Array(floppy.image).set([1, 2, 3], 1022);
  expect(floppy.dirtyBytes()).toBe(1024);
  await floppy.flush();
  expect(floppy.dirtyBytes()).toBe(0);
  expect([...file.toBytes().subarray(1020, 1027)]).toEqual([0x11, 0x11, 1, 2, 3, 0x11, 0x11]);
});

test("an image that v86 copied into a larger one is written back from the copy", async () => {
  const file = createMemoryFile({ content: new Uint8Array(1000) });
  const floppy = await openFloppy(openRawDevice(file));
  const copy = new Uint8Array(4096);
  floppy.inserted(() => copy);
  copy[999] = 7;
  copy[1000] = 8;
  await floppy.flush();
  expect(file.toBytes()).toHaveLength(1000);
  expect(file.toBytes()[999]).toBe(7);
});

test("a disk image is no floppy", async () => {
  const device = openRawDevice(createMemoryFile({ content: new Uint8Array(4 * 1024 * 1024) }));
  await expect(openFloppy(device)).rejects.toMatchObject({ code: "TOO_LARGE" });
});
