import { type BlockDevice, ByreError } from "../disk/index.ts";

/** The largest floppy v86 knows, with room to spare. */
const MAX_FLOPPY_BYTES = 3 * 1024 * 1024;

/**
 * A floppy disk. v86's controller takes an image only whole in memory; what the guest writes into it is found
 * by comparing, and goes to the device when the machine flushes.
 */
export interface Floppy {
  /** For v86. */
  readonly image: ArrayBuffer;
  /** Names where v86 has the image once it is inserted: a size that is no floppy's is copied into the next larger. */
  inserted(current: () => Uint8Array | null): void;
  /** Bytes of the sectors that differ from the device. */
  dirtyBytes(): number;
  /** Writes the sectors that differ to the device and flushes it. */
  flush(): Promise<void>;
}

const SECTOR_BYTES = 512;

/**
 * @throws ByreError TOO_LARGE when it is no floppy, or what the read met.
 */
export async function openFloppy(device: BlockDevice): Promise<Floppy> {
  const { name, sizeBytes } = device;
  if (sizeBytes > MAX_FLOPPY_BYTES)
    throw new ByreError(
      "TOO_LARGE",
      `${name}: ${sizeBytes} bytes are more than a floppy disk holds; use it as a disk.`,
      {
        file: name,
        sizeBytes,
      },
    );
  const stored = new Uint8Array(sizeBytes);
  await device.read(0, stored);
  const image = stored.slice();
  let current: () => Uint8Array | null = () => image;

  const dirtySectors = () => {
    const bytes = (current() ?? stored).subarray(0, sizeBytes);
    const offsets: number[] = [];
    for (let offset = 0; offset < bytes.length; offset += SECTOR_BYTES) {
      const end = Math.min(offset + SECTOR_BYTES, bytes.length);
      for (let at = offset; at < end; at++) {
        if (bytes[at] === stored[at]) continue;
        offsets.push(offset);
        break;
      }
    }
    return offsets;
  };
  return {
    image: image.buffer,
    inserted(source) {
      current = source;
    },
    dirtyBytes: () => dirtySectors().length * SECTOR_BYTES + device.dirtyBytes,
    async flush() {
      if (!device.writable) return;
      for (const offset of dirtySectors()) {
        const sector = (current() ?? stored).slice(offset, Math.min(offset + SECTOR_BYTES, sizeBytes));
        await device.write(offset, sector);
        stored.set(sector, offset);
      }
      await device.flush();
    },
  };
}
