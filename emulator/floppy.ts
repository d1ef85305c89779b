import { type BlockDevice, ByreError } from "../disk/index.ts";

const SECTOR_BYTES = 512;

/**
 * Sectors of the disks that v86's controller knows, up to 2.88 MB. An image of another size is one of the next larger
 * with nothing at its end.
 */
const KNOWN_SECTORS = [
  ...[320, 360, 400, 640, 720, 800, 820, 840, 1280, 1440, 1600, 1640, 1660, 1760, 2080, 2240, 2400, 2880],
  ...[2952, 2988, 3200, 3360, 3444, 3486, 3520, 3680, 3840, 5760],
];
const MAX_FLOPPY_BYTES = 5760 * SECTOR_BYTES;

/**
 * What is in a floppy drive, in the shape v86 wants: its controller takes a disk only whole in memory. Each emulator
 * has one of its own, since a load fills the next emulator while the first still stands.
 *
 * A class, because v86 logs plain objects when it saves state.
 */
export class FloppyImage {
  readonly byteLength: number;
  /** Set by v86. */
  onload: ((event: object) => void) | undefined = undefined;
  /** Whether a saved state has brought what is in it: it was saved with this disk in the drive. */
  restored = false;

  /** @param onWrite called when the guest has written to it. */
  constructor(
    public buffer: ArrayBuffer,
    private readonly device: BlockDevice,
    private readonly onWrite: (image: FloppyImage, startBytes: number, lengthBytes: number) => void,
  ) {
    this.byteLength = buffer.byteLength;
  }

  isOf(device: BlockDevice): boolean {
    return this.device === device;
  }

  load(): void {
    this.onload?.({});
  }

  get(startBytes: number, lengthBytes: number, callback: (data: Uint8Array) => void): void {
    callback(new Uint8Array(this.buffer, startBytes, lengthBytes));
  }

  set(startBytes: number, data: Uint8Array, callback: () => void): void {
    new Uint8Array(this.buffer).set(data, startBytes);
    this.onWrite(this, startBytes, data.length);
    callback();
  }

  get_buffer(callback: (buffer: ArrayBuffer) => void): void {
    callback(this.buffer);
  }

  get_state(): unknown[] {
    return [this.byteLength, new Uint8Array(this.buffer), this.device.name, this.device.sizeBytes];
  }

  /** Takes what a state has of this disk. Of another it takes nothing: that must never be written to this one. */
  set_state([byteLength, bytes, name, sizeBytes]: readonly unknown[]): void {
    const { device } = this;
    // States of older programs have no name.
    const same = name === undefined || (name === device.name && sizeBytes === device.sizeBytes);
    this.restored =
      same &&
      byteLength === this.byteLength &&
      bytes instanceof Uint8Array &&
      bytes.length === this.byteLength;
    if (this.restored) this.buffer = (bytes as Uint8Array).slice().buffer as ArrayBuffer;
  }
}

/**
 * A floppy disk. What the guest writes goes to its device at once, as a hard disk's does: a page may be gone before the
 * next flush. Where that cannot be, it is found by comparing, until it is there.
 */
export interface Floppy {
  readonly device: BlockDevice;
  /** The one in the emulator that runs. */
  image: FloppyImage;
  /** For another emulator; it has the same bytes until a state brings others. */
  anotherImage(): FloppyImage;
  /** Bytes of the sectors that differ from the device, and of those that are not durable there. */
  dirtyBytes(): number;
  /** A state has brought other bytes: begins to write them to the device. What that meets, `flush` meets too. */
  replaced(): void;
  /** Writes the sectors that differ to the device and flushes it. */
  flush(): Promise<void>;
}

/**
 * @throws ByreError TOO_LARGE when it is no floppy, INVALID_ARGUMENT when it is empty, or what the read met.
 */
export async function openFloppy(device: BlockDevice): Promise<Floppy> {
  const { name, sizeBytes } = device;
  if (sizeBytes > MAX_FLOPPY_BYTES)
    throw new ByreError(
      "TOO_LARGE",
      `${name}: ${sizeBytes} bytes are more than a floppy disk holds; use it as a disk.`,
      { file: name, sizeBytes },
    );
  if (sizeBytes === 0) throw new ByreError("INVALID_ARGUMENT", `${name} is empty.`, { file: name });
  const stored = new Uint8Array(sizeBytes);
  await device.read(0, stored);
  const sectors = KNOWN_SECTORS.find((known) => known * SECTOR_BYTES >= sizeBytes) ?? 0;
  const whole = new Uint8Array(sectors * SECTOR_BYTES);
  whole.set(stored);

  const dirtySectors = (fromBytes = 0, toBytes = sizeBytes) => {
    const bytes = new Uint8Array(floppy.image.buffer, 0, sizeBytes);
    const offsets: number[] = [];
    const first = fromBytes - (fromBytes % SECTOR_BYTES);
    for (let offset = first; offset < Math.min(toBytes, sizeBytes); offset += SECTOR_BYTES) {
      const end = Math.min(offset + SECTOR_BYTES, sizeBytes);
      for (let at = offset; at < end; at++) {
        if (bytes[at] === stored[at]) continue;
        offsets.push(offset);
        break;
      }
    }
    return offsets;
  };
  const sectorAt = (offset: number) =>
    new Uint8Array(floppy.image.buffer.slice(offset, Math.min(offset + SECTOR_BYTES, sizeBytes)));
  /** Whether all that differs in a range could be written without waiting. */
  const writeNow = (fromBytes?: number, toBytes?: number) =>
    dirtySectors(fromBytes, toBytes).every((offset) => {
      const sector = sectorAt(offset);
      const written = device.writeNow(offset, sector);
      if (written) stored.set(sector, offset);
      return written;
    });
  let writing: Promise<void> | undefined;
  /** All that differs, what the guest writes meanwhile too. */
  const write = () => {
    writing ??= writeAll().finally(() => {
      writing = undefined;
    });
    return writing;
  };
  const writeAll = async () => {
    while (!writeNow()) {
      const [offset = 0] = dirtySectors();
      const sector = sectorAt(offset);
      await device.write(offset, sector);
      stored.set(sector, offset);
    }
  };
  const writeSoon = (fromBytes?: number, toBytes?: number) => {
    if (!device.writable) return;
    try {
      if (writeNow(fromBytes, toBytes)) return;
    } catch {
      // It differs still, and the flush meets the same error.
      return;
    }
    write().catch(() => {
      // As above.
    });
  };
  const imageOf = (buffer: ArrayBuffer) =>
    new FloppyImage(buffer, device, (image, startBytes, lengthBytes) => {
      if (image === floppy.image) writeSoon(startBytes, startBytes + lengthBytes);
    });
  const floppy: Floppy = {
    device,
    image: imageOf(whole.buffer),
    anotherImage: () => imageOf(floppy.image.buffer),
    dirtyBytes: () =>
      device.writable ? dirtySectors().length * SECTOR_BYTES + device.dirtyBytes : device.dirtyBytes,
    replaced: () => writeSoon(),
    async flush() {
      if (!device.writable) return;
      await write();
      await device.flush();
    },
  };
  return floppy;
}
