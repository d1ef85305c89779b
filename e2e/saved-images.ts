import {
  createMemoryFile,
  createQcow2,
  type MemoryFile,
  openQcow2,
  type Qcow2Device,
  withMetadata,
} from "../disk/index.ts";
import type { EmulatorParts } from "../emulator/emulator-parts.ts";
import type { Machine } from "../emulator/index.ts";
import { startHeadlessMachine } from "../emulator/node.ts";
import { TINY_GUEST_BANNER, TINY_GUEST_FREE_SECTOR, tinyGuestImage } from "../emulator/testing/tiny-guest.ts";
import { hex } from "./byre-test.ts";
import { SECTOR_BYTES } from "./images.ts";

const MIB = 1024 * 1024;
/** For a guest that does not answer; it takes milliseconds. */
const ANSWER_MS = 20_000;

/** A sector that is written before the state is saved, and written over after it. */
export const SAVED_SECTOR = 100;
export const BYTE_THEN = 0x11;
export const BYTE_NOW = 0x22;
/** What the guest was told before it was saved: a boot would not know it. */
export const SAVED_WORDS = "said before the save";

export interface SavedImageOptions {
  /** Of the state. Default: "ready". */
  name?: string;
  /** What the image says of itself. */
  metadata?: Record<string, string>;
  memoryMiB?: number;
  /** So much of the guest's memory is bytes that do not pack. Default: 0. */
  noiseBytes?: number;
}

/** Memory that the tiny guest leaves alone. */
const SPARE_ADDRESS = 9 * MIB;

/** A qcow2 image of the tiny guest with a saved machine in it, made in Node. Its disk has gone on since. */
export async function savedGuestImage(options: SavedImageOptions = {}): Promise<Buffer<ArrayBuffer>> {
  const { name = "ready", metadata = {}, memoryMiB = 32, noiseBytes = 0 } = options;
  const file = createMemoryFile({ name: "image" });
  await createQcow2(file, { sizeBytes: 4 * MIB });
  const hda = await openQcow2(file, { writable: true });
  await hda.write(0, tinyGuestImage(TINY_GUEST_FREE_SECTOR * SECTOR_BYTES));
  const guest = await headlessGuest(hda, { memoryMiB });
  await guest.machine.waitForText(TINY_GUEST_BANNER, { timeoutMs: ANSWER_MS });
  await guest.ask(`W${hex(SAVED_SECTOR)}${hex(BYTE_THEN, 2)}`);
  await guest.ask(`E${SAVED_WORDS}\n`);
  fillWithNoise(memoryOf(guest.machine).subarray(SPARE_ADDRESS, SPARE_ADDRESS + noiseBytes));
  await guest.machine.save(name);
  await guest.ask(`W${hex(SAVED_SECTOR)}${hex(BYTE_NOW, 2)}`);
  await guest.machine.powerOff();
  await guest.machine.close();
  const said = new Map(Object.entries(metadata));
  if (said.size > 0)
    await hda.changeHeader({ extensions: (others) => withMetadata(hda.header, others, said, hda.name) });
  await hda.flush();
  return bytesOf(file);
}

/** A machine in Node with the tiny guest on its disk. Close it. */
export async function headlessGuest(
  hda: Qcow2Device,
  { memoryMiB = 32, startFrom }: { memoryMiB?: number; startFrom?: string } = {},
) {
  const machine = await startHeadlessMachine({
    disks: { hda },
    configuration: { memoryMiB },
    ...(startFrom !== undefined && { startFrom: { device: hda, snapshot: startFrom } }),
  });
  return {
    machine,
    /** Sends a command and gives the line it answers. */
    async ask(command: string): Promise<string> {
      const fromCharacter = machine.serial.text().length;
      machine.serial.send(command);
      const text = await machine.waitForText("\n", { timeoutMs: ANSWER_MS, fromCharacter });
      return text.slice(fromCharacter).trim();
    },
  };
}

/** The image with the header of its state changed. */
export async function withHeader(image: Buffer, change: (header: Uint8Array) => void): Promise<Buffer> {
  const file = createMemoryFile({ content: new Uint8Array(image) });
  const device = await openQcow2(file, { writable: true });
  const header = new Uint8Array(device.header.clusterSizeBytes);
  const state = await device.openState("ready");
  await state.read(0, header);
  change(header);
  const writer = await device.editState("ready");
  await writer.writeCluster(0, header);
  await writer.finish({ name: "ready", vmStateBytes: state.sizeBytes });
  await device.flush();
  return bytesOf(file);
}

export function bytesOf(file: MemoryFile): Buffer<ArrayBuffer> {
  return Buffer.from(file.toBytes());
}

/** The guest's memory. There is no public way to it, and a guest has none to fill it quickly. */
function memoryOf(machine: Machine): Uint8Array {
  return (machine as unknown as { parts: EmulatorParts }).parts.emulator.v86.cpu.mem8;
}

/** Bytes without a pattern, the same every time. */
function fillWithNoise(target: Uint8Array): void {
  let seed = 1;
  for (let i = 0; i < target.length; i++) {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    target[i] = seed >>> 24;
  }
}
