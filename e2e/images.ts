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
