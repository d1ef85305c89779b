import { expect, test } from "vitest";
import { createOutput } from "./output.ts";
import type { V86Emulator } from "./v86-internals.ts";

/** An emulator of which only the second serial port is there. */
function fakePort(): { readonly emulator: V86Emulator; write(bytes: Iterable<number>): void } {
  const listeners: ((byte: number) => void)[] = [];
  const emulator = {
    add_listener(event: string, listener: (byte: number) => void) {
      if (event === "serial1-output-byte") listeners.push(listener);
    },
  } as unknown as V86Emulator;
  return {
    emulator,
    write(bytes) {
      for (const byte of bytes) for (const listener of listeners) listener(byte);
    },
  };
}

test("every byte is kept as it was written, across pieces and emulators", () => {
  const output = createOutput();
  const [first, second] = [fakePort(), fakePort()];
  output.attach(first.emulator);
  const sent = Uint8Array.from({ length: 200_000 }, (_, i) => (i * 31) & 0xff);
  first.write(sent.subarray(0, 70_000));
  output.attach(second.emulator);
  second.write(sent.subarray(70_000));
  expect(output.sizeBytes).toBe(sent.length);
  expect(Buffer.from(output.bytes()).equals(sent)).toBe(true);
});

test("listeners hear once of all that came in a turn", async () => {
  const output = createOutput();
  const port = fakePort();
  output.attach(port.emulator);
  const sizes: number[] = [];
  const end = output.onOutput(() => sizes.push(output.sizeBytes));
  port.write([1, 2, 3]);
  await Promise.resolve();
  port.write([4]);
  await Promise.resolve();
  output.clear();
  end();
  port.write([5]);
  await Promise.resolve();
  expect(sizes).toEqual([3, 4, 0]);
});

test("past the bound bytes are counted and not kept, until it is cleared", () => {
  const output = createOutput(10);
  const port = fakePort();
  output.attach(port.emulator);
  port.write(Array.from({ length: 13 }, (_, i) => i));
  expect([...output.bytes()]).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  expect(output.droppedBytes).toBe(3);
  output.clear();
  expect(output.droppedBytes).toBe(0);
  port.write([42]);
  expect([...output.bytes()]).toEqual([42]);
});
