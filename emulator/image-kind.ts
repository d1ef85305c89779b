import type { BlockFile } from "../disk/index.ts";

/** What a machine does with an image. */
export type ImageKind = "disk" | "cdrom" | "floppy";

/** Sizes that only floppy disks have, in bytes: 160 KiB to 2.88 MB. */
const FLOPPY_BYTES = new Set([160, 180, 320, 360, 720, 1200, 1440, 1680, 2880].map((kib) => kib * 1024));

/** Where ISO 9660 and UDF discs say what they are, from the third block of 32 KiB on. */
const DISC_MARK_BYTES = 0x8001;
const DISC_MARKS = ["CD001", "BEA01"];

/** What kind of medium a raw image is, by its size and content. Anything may be a disk. */
export async function imageKind(image: Pick<BlockFile, "sizeBytes" | "read">): Promise<ImageKind> {
  if (FLOPPY_BYTES.has(image.sizeBytes)) return "floppy";
  const mark = new Uint8Array(5);
  if (image.sizeBytes < DISC_MARK_BYTES + mark.length) return "disk";
  await image.read(DISC_MARK_BYTES, mark);
  return DISC_MARKS.includes(new TextDecoder().decode(mark)) ? "cdrom" : "disk";
}
