import { expect, test, vi } from "vitest";
import { ByreError, createMemoryFile, type MemoryFile, openRawDevice } from "../disk/index.ts";
import { openFloppy } from "./floppy.ts";
import { createScriptedDevice } from "./testing/scripted-device.ts";

const FLOPPY_BYTES = 1440 * 1024;

async function openScripted(options: { immediate: boolean }) {
  const file = createMemoryFile({ content: new Uint8Array(FLOPPY_BYTES).fill(0x11) });
  const device = createScriptedDevice(openRawDevice(file), options);
  return { file, device, floppy: await openFloppy(device) };
}
const around = (file: MemoryFile) => [...file.toBytes().subarray(1020, 1027)];
const WRITTEN = [0x11, 0x11, 1, 2, 3, 0x11, 0x11];

test("what the guest writes into the image goes to the device in the same call, and only that", async () => {
  const { file, device, floppy } = await openScripted({ immediate: true });
  const written = vi.spyOn(device, "writeNow");
  floppy.image.set(1022, Uint8Array.of(1, 2, 3), () => {});
  expect([floppy.dirtyBytes(), around(file)]).toEqual([0, WRITTEN]);
  expect(written.mock.calls.map(([offset, { length }]) => [offset, length])).toEqual([
    [512, 512],
    [1024, 512],
  ]);
});

test("what the device does not take at once it is given without a flush, as it is by then", async () => {
  const { file, device, floppy } = await openScripted({ immediate: false });
  device.hold("write");
  floppy.image.set(1022, Uint8Array.of(9, 9, 9), () => {});
  await device.requested("write", 1);
  floppy.image.set(1022, Uint8Array.of(1, 2, 3), () => {});
  expect(floppy.dirtyBytes()).toBe(1024);
  device.release("write");
  // The first sector as it was, then both.
  await device.requested("write", 3);
  await floppy.flush();
  expect([floppy.dirtyBytes(), around(file)]).toEqual([0, WRITTEN]);
  expect(device.log.filter((entry) => entry.startsWith("write"))).toEqual([
    "write 512+512",
    "write 512+512",
    "write 1024+512",
  ]);
});

test("what the device fails to take is kept, and the flush tells of it until it is taken", async () => {
  for (const immediate of [true, false]) {
    const { file, device, floppy } = await openScripted({ immediate });
    const full = new ByreError("QUOTA_EXCEEDED", "There is no room.");
    device.fail("write", full);
    floppy.image.set(1022, Uint8Array.of(1, 2, 3), () => {});
    await device.requested("write", 1);
    await expect(floppy.flush()).rejects.toBe(full);
    expect(floppy.dirtyBytes()).toBe(1024);
    device.fail("write", undefined);
    await floppy.flush();
    expect([floppy.dirtyBytes(), around(file)]).toEqual([0, WRITTEN]);
  }
});

test("a device that may not be written to is left alone", async () => {
  const file = createMemoryFile({ content: new Uint8Array(FLOPPY_BYTES).fill(0x11) });
  const floppy = await openFloppy(openRawDevice(file, { writable: false }));
  floppy.image.set(1022, Uint8Array.of(1, 2, 3), () => {});
  await floppy.flush();
  expect([floppy.dirtyBytes(), file.toBytes()[1022]]).toEqual([0, 0x11]);
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
