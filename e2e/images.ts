import { createMemoryFile, createQcow2, openQcow2 } from "../disk/index.ts";
import { TINY_GUEST_FREE_SECTOR, tinyGuestImage } from "../emulator/testing/tiny-guest.ts";

export const SECTOR_BYTES = 512;
const MIB = 1024 * 1024;

export interface GuestImageOptions {
  /** Virtual size of the disk. */
  sizeBytes?: number;
  /** Every byte of the disk from here on that is not the guest's own. Default: 0, which takes no room. */
  fill?: number;
  /** Fills so much of the disk. Default: nothing. */
  fillBytes?: number;
  backing?: { name: string; format: "qcow2" };
}

/** A qcow2 image that boots the tiny guest. */
export async function guestImage(options: GuestImageOptions = {}): Promise<Buffer<ArrayBuffer>> {
  const { sizeBytes = 4 * MIB, fill = 0, fillBytes = 0, backing } = options;
  const file = createMemoryFile({ name: "image" });
  await createQcow2(file, { sizeBytes, ...(backing && { backing }) });
  const device = await openQcow2(file, {
    writable: true,
    // Never read: the whole image is written over what would be behind it.
    resolveBacking: async () => createMemoryFile({ content: await guestImage() }),
  });
  if (!backing) await device.write(0, tinyGuestImage(TINY_GUEST_FREE_SECTOR * SECTOR_BYTES));
  const piece = new Uint8Array(MIB).fill(fill);
  for (let offset = MIB; offset < MIB + fillBytes; offset += MIB) await device.write(offset, piece);
  await device.flush();
  const bytes = Buffer.alloc(file.sizeBytes);
  await file.read(0, bytes);
  await device.close();
  return bytes;
}

/** A sector of equal bytes. */
export function sectorOf(byte: number): Uint8Array {
  return new Uint8Array(SECTOR_BYTES).fill(byte);
}

const CD_SECTOR_BYTES = 2048;

/** A CD that boots the tiny guest: El Torito without emulation, on a disc without files. */
export function guestCd(sizeBytes = 64 * CD_SECTOR_BYTES): Buffer<ArrayBuffer> {
  const cd = Buffer.alloc(sizeBytes);
  const descriptor = (sector: number, type: number): Buffer => {
    const bytes = cd.subarray(sector * CD_SECTOR_BYTES, (sector + 1) * CD_SECTOR_BYTES);
    bytes[0] = type;
    bytes.write("CD001", 1, "latin1");
    bytes[6] = 1;
    return bytes;
  };
  const [catalogSector, bootSector] = [19, 20];
  const primary = descriptor(16, 1);
  primary.writeUInt32LE(sizeBytes / CD_SECTOR_BYTES, 80);
  primary.writeUInt16LE(CD_SECTOR_BYTES, 128);
  const boot = descriptor(17, 0);
  boot.write("EL TORITO SPECIFICATION", 7, "latin1");
  boot.writeUInt32LE(catalogSector, 71);
  descriptor(18, 255);
  const catalog = cd.subarray(catalogSector * CD_SECTOR_BYTES);
  catalog[0] = 1;
  catalog.writeUInt16LE(0xaa55, 30);
  // The 16-bit words of the first entry add up to zero.
  catalog.writeUInt16LE(0x10000 - 1 - 0xaa55, 28);
  catalog[32] = 0x88;
  catalog.writeUInt16LE(CD_SECTOR_BYTES / SECTOR_BYTES, 38);
  catalog.writeUInt32LE(bootSector, 40);
  cd.set(tinyGuestImage(CD_SECTOR_BYTES), bootSector * CD_SECTOR_BYTES);
  return cd;
}
