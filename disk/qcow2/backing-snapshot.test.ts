import { expect, test } from "vitest";
import { createMemoryFile, type MemoryFile } from "../files/memory-file.ts";
import { createQcow2 } from "./create.ts";
import { openQcow2 } from "./open.ts";

const SIZE_BYTES = 1024 * 1024;

/** A base whose disk has grown and changed since its snapshot, with a look at whether it is closed. */
async function makeBase(): Promise<{ file: MemoryFile; closed: () => number }> {
  const made = createMemoryFile();
  await createQcow2(made, { sizeBytes: SIZE_BYTES });
  const device = await openQcow2(createMemoryFile({ content: made.toBytes() }));
  await device.write(0, new Uint8Array(200_000).fill(1));
  await device.createSnapshot({ name: "then" });
  await device.resize(2 * SIZE_BYTES);
  await device.write(0, new Uint8Array(2 * SIZE_BYTES).fill(2));
  await device.flush();
  const file = createMemoryFile({
    name: "base.qcow2",
    content: (device.image.file as MemoryFile).toBytes(),
    writable: false,
  });
  let closes = 0;
  const { close } = file;
  file.close = () => {
    closes++;
    return close.call(file);
  };
  return { file, closed: () => closes };
}

async function makeOverlay(format: "qcow2" | "raw" = "qcow2"): Promise<MemoryFile> {
  const file = createMemoryFile({ name: "overlay.qcow2" });
  await createQcow2(file, { sizeBytes: 2 * SIZE_BYTES, backing: { name: "base", format } });
  return file;
}

test.each(["then", "1"])("an overlay reads its base as the snapshot %s has it", async (snapshot) => {
  const { file, closed } = await makeBase();
  const device = await openQcow2(await makeOverlay(), { resolveBacking: async () => ({ file, snapshot }) });
  const bytes = new Uint8Array(2 * SIZE_BYTES).fill(255);
  await device.read(0, bytes);
  expect([bytes[0], bytes[199_999], bytes[200_000], bytes[SIZE_BYTES]]).toEqual([1, 1, 0, 0]);
  expect(device.backing).toMatchObject({ sizeBytes: SIZE_BYTES, writable: false });
  await device.write(10, Uint8Array.of(7));
  await device.read(0, bytes);
  expect([bytes[9], bytes[10], bytes[11]]).toEqual([1, 7, 1]);
  await device.close();
  expect(closed()).toBe(1);
});

test("without a snapshot it is the base as it is now", async () => {
  const { file } = await makeBase();
  const device = await openQcow2(await makeOverlay(), { resolveBacking: async () => ({ file }) });
  const bytes = new Uint8Array(1);
  await device.read(SIZE_BYTES, bytes);
  expect(bytes[0]).toBe(2);
});

test.each(["qcow2", "raw"] as const)(
  "a snapshot that is not there is said, and everything is closed (%s)",
  async (format) => {
    const { file, closed } = await makeBase();
    const opening = openQcow2(await makeOverlay(format), {
      resolveBacking: async () => ({ file, snapshot: "no such" }),
    });
    await expect(opening).rejects.toMatchObject({ code: "SNAPSHOT_NOT_FOUND" });
    expect(closed()).toBe(1);
  },
);
