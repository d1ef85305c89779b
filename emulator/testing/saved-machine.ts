import {
  type BlockFile,
  createMemoryFile,
  createQcow2,
  type MemoryFile,
  openQcow2,
  type Qcow2Device,
} from "../../disk/index.ts";
import type { EmulatorParts } from "../emulator-parts.ts";
import type { Machine } from "../machine.ts";
import { TINY_GUEST_FREE_SECTOR, tinyGuestChecksum, tinyGuestImage } from "./tiny-guest.ts";

const MIB = 1024 * 1024;

/** A sector for tests, as a command wants it. */
export const SECTOR = TINY_GUEST_FREE_SECTOR.toString(16).toUpperCase().padStart(8, "0");
/** What a write answers. */
export const READY = "=00000050";
/** Memory that the tiny guest leaves alone. */
export const SPARE_ADDRESS = 9 * MIB;

/** What a sector full of a byte reads as. */
export const filled = (byte: number) => `=${tinyGuestChecksum(new Uint8Array(512).fill(byte))}`;

/** A disk with the tiny guest. */
export async function guestDisk(): Promise<{ file: MemoryFile; device: Qcow2Device }> {
  const file = createMemoryFile({ name: "hda.qcow2" });
  return { file, device: await guestDiskIn(file) };
}

export async function guestDiskIn(file: BlockFile): Promise<Qcow2Device> {
  await createQcow2(file, { sizeBytes: 4 * MIB });
  const device = await openQcow2(file);
  await device.write(0, tinyGuestImage(MIB));
  await device.flush();
  return device;
}

export async function emptyDisk(name: string, sizeBytes = MIB): Promise<Qcow2Device> {
  const file = createMemoryFile({ name });
  await createQcow2(file, { sizeBytes });
  return openQcow2(file);
}

/** The same bytes, opened anew. */
export function openCopy(file: MemoryFile): Promise<Qcow2Device> {
  return openQcow2(createMemoryFile({ name: file.name, content: file.toBytes() }));
}

export function partsOf(machine: Machine): EmulatorParts {
  return (machine as unknown as { parts: EmulatorParts }).parts;
}

/** The guest's memory. */
export function memoryOf(machine: Machine): Uint8Array {
  return partsOf(machine).emulator.v86.cpu.mem8;
}

/** Fills memory with bytes that do not pack. */
export function fillWithNoise(memory: Uint8Array, seed = 1): void {
  let state = seed;
  for (let i = 0; i < memory.length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    memory[i] = state >>> 24;
  }
}
