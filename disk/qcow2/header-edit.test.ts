import { describe, expect, test } from "vitest";
import { type BlockFile, createMemoryFile, createQcow2, openQcow2, type Qcow2Device } from "../index.ts";

const MAGIC = 0x12345678;
const CLUSTER_BYTES = 4096;

/** Changes how a file behaves; `undefined` leaves it. */
function changed(file: BlockFile, change: (key: string | symbol) => unknown): BlockFile {
  return new Proxy(file, {
    get(target, key) {
      const value = change(key) ?? Reflect.get(target, key, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

async function newImage() {
  const memory = createMemoryFile({ name: "disk.qcow2" });
  await createQcow2(memory, { sizeBytes: 16 * CLUSTER_BYTES, clusterSizeBytes: CLUSTER_BYTES });
  return memory;
}

const say = (device: Qcow2Device, byte: number) =>
  device.changeHeader({
    extensions: (present) => [
      ...present.filter(({ magic }) => magic !== MAGIC),
      { magic: MAGIC, data: Uint8Array.of(byte) },
    ],
  });

const said = (device: Qcow2Device) => device.header.extensions.find(({ magic }) => magic === MAGIC)?.data[0];

describe("changeHeader", () => {
  test("on a file with transactions is taken back when it cannot be flushed", async () => {
    const memory = await newImage();
    let isFull = false;
    const file = changed(memory, (key) =>
      key === "flush" && isFull ? () => Promise.reject(new Error("no room")) : undefined,
    );
    const device = await openQcow2(file, { writable: true });
    await say(device, 1);
    isFull = true;
    await expect(say(device, 2)).rejects.toThrow("no room");
    expect(said(device)).toBe(1);
    isFull = false;
    await device.write(0, Uint8Array.of(5));
    await device.flush();
    const again = await openQcow2(createMemoryFile({ content: memory.toBytes() }));
    expect(said(again)).toBe(1);
    await say(device, 2);
    expect(said(device)).toBe(2);
  });

  test("writes nothing back that the guest writes while it waits", async () => {
    const memory = await newImage();
    let whileWaiting: (() => Promise<void>) | undefined;
    // As a file that has too much to commit: who writes waits for that.
    const file = changed(memory, (key) => {
      if (key === "canWriteNow" && whileWaiting) return () => false;
      if (key !== "load" || !whileWaiting) return undefined;
      const meanwhile = whileWaiting;
      whileWaiting = undefined;
      return meanwhile;
    });
    const device = await openQcow2(file, { writable: true });
    // Within the first 64 KiB of the file, which are written as one.
    await device.write(0, Uint8Array.of(1));
    let writing: Promise<void> | undefined;
    whileWaiting = async () => {
      writing = device.write(0, Uint8Array.of(2));
    };
    await say(device, 1);
    await writing;
    const byte = new Uint8Array(1);
    await device.read(0, byte);
    expect(byte[0]).toBe(2);
  });
});
