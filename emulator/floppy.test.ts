import { expect, test } from "vitest";
import { createMemoryFile, openRawDevice } from "../disk/index.ts";
import { openFloppy } from "./floppy.ts";

const FLOPPY_BYTES = 1440 * 1024;

test("what the guest wrote into the image goes to the device with a flush, and only that", async () => {
  const file = createMemoryFile({ content: new Uint8Array(FLOPPY_BYTES).fill(0x11) });
  const floppy = await openFloppy(openRawDevice(file));
  expect(floppy.dirtyBytes()).toBe(0);
  floppy.image.set(1022, Uint8Array.of(1, 2, 3), () => {});
  expect(floppy.dirtyBytes()).toBe(1024);
  await floppy.flush();
  expect(floppy.dirtyBytes()).toBe(0);
  expect([...file.toBytes().subarray(1020, 1027)]).toEqual([0x11, 0x11, 1, 2, 3, 0x11, 0x11]);
});

test("an image that is no floppy's size is one of the next size, and is written back without its end", async () => {
  const file = createMemoryFile({ content: new Uint8Array(1000) });
  const floppy = await openFloppy(openRawDevice(file));
  expect(floppy.image.byteLength).toBe(320 * 512);
  floppy.image.set(999, Uint8Array.of(7, 8), () => {});
  await floppy.flush();
  expect(file.toBytes()).toHaveLength(1000);
  expect(file.toBytes()[999]).toBe(7);
});

test("another emulator's image takes a state without changing the first", async () => {
  const floppy = await openFloppy(
    openRawDevice(createMemoryFile({ name: "a.img", content: new Uint8Array(FLOPPY_BYTES) })),
  );
  floppy.image.set(0, Uint8Array.of(1), () => {});
  const state = floppy.image.get_state();
  state[1] = (state[1] as Uint8Array).slice();
  floppy.image.set(0, Uint8Array.of(2), () => {});
  const next = floppy.anotherImage();
  expect(new Uint8Array(next.buffer)[0]).toBe(2);
  next.set_state(state);
  expect([next.restored, new Uint8Array(next.buffer)[0]]).toEqual([true, 1]);
  expect(new Uint8Array(floppy.image.buffer)[0]).toBe(2);
});

test("the state of another floppy is not taken", async () => {
  const open = (name: string, byte: number) =>
    openFloppy(openRawDevice(createMemoryFile({ name, content: new Uint8Array(FLOPPY_BYTES).fill(byte) })));
  const [a, b] = [await open("a.img", 1), await open("b.img", 2)];
  b.image.set_state(a.image.get_state());
  expect([b.image.restored, new Uint8Array(b.image.buffer)[0], b.dirtyBytes()]).toEqual([false, 2, 0]);
  for (const bad of [
    [FLOPPY_BYTES, "text", "b.img", FLOPPY_BYTES],
    [FLOPPY_BYTES, new Uint8Array(3), "b.img", FLOPPY_BYTES],
    [],
  ]) {
    b.image.set_state(bad);
    expect(b.image.restored).toBe(false);
  }
});

test.each([
  ["a disk image", 4 * 1024 * 1024, "TOO_LARGE"],
  ["an empty file", 0, "INVALID_ARGUMENT"],
])("%s is no floppy", async (_, sizeBytes, code) => {
  const device = openRawDevice(createMemoryFile({ content: new Uint8Array(sizeBytes) }));
  await expect(openFloppy(device)).rejects.toMatchObject({ code });
});
