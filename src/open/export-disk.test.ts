import { expect, it } from "vitest";
import { createMemoryFile, createQcow2, openQcow2 } from "../../disk/index.ts";
import type { Machine } from "../../emulator/index.ts";
import { exportOpenDisk } from "./export-disk.ts";
import type { MachineDisk } from "./machine-disk.ts";

const MIB = 1024 * 1024;

async function exportWhile(change: (become: (state: Machine["state"]) => void) => void): Promise<number> {
  const overlay = createMemoryFile({ name: "overlay" });
  await createQcow2(overlay, { sizeBytes: 16 * MIB });
  const device = await openQcow2(overlay, { writable: true });
  await device.write(0, new Uint8Array(8 * MIB).fill(7));
  await device.flush();
  let state: Machine["state"] = "error";
  const listeners = new Set<() => void>();
  const machine = {
    get state() {
      return state;
    },
    onChange(listener: () => void) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  } as unknown as Machine;
  const become = (next: Machine["state"]) => {
    state = next;
    for (const listener of listeners) listener();
  };
  let bytes = 0;
  const target = new WritableStream<Uint8Array<ArrayBuffer>>({
    write(piece) {
      if (bytes === 0) change(become);
      bytes += piece.length;
    },
  });
  try {
    await exportOpenDisk("m", machine, { device, overlay } as unknown as MachineDisk, target);
  } finally {
    await device.close();
  }
  return bytes;
}

it("exports the disk of a machine that an error has stopped", async () => {
  expect(await exportWhile(() => {})).toBeGreaterThan(8 * MIB);
});

it.each(["paused", "stopped", "running"] as const)(
  "gives up when a retry writes meanwhile and leaves the machine %s",
  async (state) => {
    await expect(exportWhile((become) => become(state))).rejects.toMatchObject({ code: "FILE_CHANGED" });
  },
);
