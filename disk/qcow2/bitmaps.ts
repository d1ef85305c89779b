import type { BlockFile } from "../block-file.ts";
import { ByreError, type ByreErrorData } from "../errors.ts";
import { AutoclearFeature, ExtensionMagic } from "./format.ts";
import type { Qcow2Header } from "./header.ts";
import { hasFeature } from "./header.ts";
import { viewOf } from "./u64.ts";

/** A persistent dirty bitmap, as the image's bitmap directory has it. */
export interface Qcow2Bitmap {
  readonly name: string;
  /** Guest bytes that one bit stands for. */
  readonly granularityBytes: number;
  /** Being written, or left so by a crash: its content says nothing. */
  readonly inUse: boolean;
  /** Enabled: whoever writes the disk also keeps the bitmap. */
  readonly auto: boolean;
  readonly tableOffsetBytes: number;
  readonly tableEntries: number;
  /** Where the directory entry's flags stand in the file. */
  readonly flagsOffsetBytes: number;
}

/** Where the bitmap directory is, from the header extension. */
export interface BitmapDirectory {
  readonly count: number;
  readonly offsetBytes: number;
  readonly lengthBytes: number;
}

/** A change to the file: bytes to write at an offset. */
export interface PlannedWrite {
  readonly offsetBytes: number;
  readonly bytes: Uint8Array;
}

// QEMU's limits (block/qcow2-bitmap.c, qcow2.h); larger is refused there and here.
const MAX_BITMAPS = 65535;
const MAX_DIRECTORY_BYTES = 1024 * MAX_BITMAPS;
const MAX_NAME_BYTES = 1023;
const MIN_GRANULARITY_BITS = 9;
const MAX_GRANULARITY_BITS = 31;
/** Bytes of one bitmap's data. */
const MAX_BITMAP_BYTES = 0x20000000;
const EXTENSION_BYTES = 24;
const ENTRY_FIXED_BYTES = 24;
const TYPE_DIRTY_TRACKING = 1;
const FLAG_IN_USE = 1;
const FLAG_AUTO = 2;
const KNOWN_FLAGS = FLAG_IN_USE | FLAG_AUTO;
const FLAGS_AT = 12;
const TWO_32 = 2 ** 32;

/**
 * The bitmap directory's place.
 *
 * @returns undefined when the image has none, or when its autoclear bit is not set: a program that knows
 *   nothing of bitmaps has then written the image, and what the extension points to may be anything.
 * @throws ByreError CORRUPT for an extension that QEMU refuses too.
 */
export function findBitmapDirectory(header: Qcow2Header, fileName: string): BitmapDirectory | undefined {
  const extension = header.extensions.findLast(({ magic }) => magic === ExtensionMagic.BITMAPS);
  if (!extension) return undefined;
  const fail = failure(fileName, "the bitmaps extension");
  if (extension.data.length !== EXTENSION_BYTES)
    throw fail("length", extension.data.length, `it has ${EXTENSION_BYTES} bytes`);
  if (!hasFeature(header.autoclearFeatures, AutoclearFeature.BITMAPS)) return undefined;
  const view = viewOf(extension.data);
  const count = view.getUint32(0);
  if (view.getUint32(4) !== 0) throw fail("reserved field", view.getUint32(4), "it must be 0");
  if (count === 0 || count > MAX_BITMAPS) throw fail("nb_bitmaps", count, `1 to ${MAX_BITMAPS} are allowed`);
  const lengthBytes = readU64Loosely(view, 8);
  const offsetBytes = readU64Loosely(view, 16);
  if (view.getUint32(20) % header.clusterSizeBytes !== 0)
    throw fail("bitmap_directory_offset", offsetBytes, "it must be a cluster's start");
  if (lengthBytes > MAX_DIRECTORY_BYTES)
    throw fail("bitmap_directory_size", lengthBytes, `at most ${MAX_DIRECTORY_BYTES} bytes are allowed`);
  return { count, offsetBytes, lengthBytes };
}

/**
 * Reads the bitmap directory.
 *
 * @returns the bitmaps in the directory's order; none when the image has none that count.
 * @throws ByreError CORRUPT for a directory that QEMU refuses too; what the file meets.
 */
export async function readBitmaps(file: BlockFile, header: Qcow2Header): Promise<Qcow2Bitmap[]> {
  const directory = findBitmapDirectory(header, file.name);
  if (!directory) return [];
  const bytes = new Uint8Array(directory.lengthBytes);
  const available = Math.max(0, Math.min(bytes.length, file.sizeBytes - directory.offsetBytes));
  // Past its end a file reads as zeros, as in QEMU; such an entry is refused below.
  if (available > 0) await file.read(directory.offsetBytes, bytes.subarray(0, available));
  return parseBitmapDirectory(bytes, directory, header, file.name);
}

/**
 * Parses a bitmap directory.
 *
 * @param bytes the whole directory.
 * @throws ByreError CORRUPT naming the entry and field.
 */
export function parseBitmapDirectory(
  bytes: Uint8Array,
  directory: BitmapDirectory,
  header: Qcow2Header,
  fileName: string,
): Qcow2Bitmap[] {
  const view = viewOf(bytes);
  const bitmaps: Qcow2Bitmap[] = [];
  const names = new Set<string>();
  let at = 0;
  while (at < bytes.length) {
    const entryAt = directory.offsetBytes + at;
    const fail = failure(fileName, `entry ${bitmaps.length} of the bitmap directory`, entryAt);
    if (at + ENTRY_FIXED_BYTES > bytes.length)
      throw fail("length", bytes.length - at, "the directory ends inside it");
    if (bitmaps.length === directory.count)
      throw fail("number", bitmaps.length, `the header extension says ${directory.count} bitmaps`);
    const tableOffsetBytes = readU64Loosely(view, at);
    const tableEntries = view.getUint32(at + 8);
    const flags = view.getUint32(at + FLAGS_AT);
    const type = view.getUint8(at + 16);
    const granularityBits = view.getUint8(at + 17);
    const nameBytes = view.getUint16(at + 18);
    const extraBytes = view.getUint32(at + 20);
    const end = at + Math.ceil((ENTRY_FIXED_BYTES + extraBytes + nameBytes) / 8) * 8;
    if (end > bytes.length) throw fail("length", end - at, "the directory ends inside it");
    if (extraBytes !== 0) throw fail("extra_data_size", extraBytes, "extra data is not known here");
    if (tableOffsetBytes === 0 || view.getUint32(at + 4) % header.clusterSizeBytes !== 0)
      throw fail("bitmap_table_offset", tableOffsetBytes, "it must be a cluster's start, not 0");
    if (tableEntries === 0 || tableEntries * header.clusterSizeBytes > MAX_BITMAP_BYTES)
      throw fail("bitmap_table_size", tableEntries, "1 entry to 512 MiB of clusters is allowed");
    if (flags & ~KNOWN_FLAGS) throw fail("flags", flags, "only in_use and auto are known");
    if (type !== TYPE_DIRTY_TRACKING) throw fail("type", type, "only dirty tracking (1) is known");
    if (granularityBits < MIN_GRANULARITY_BITS || granularityBits > MAX_GRANULARITY_BITS)
      throw fail("granularity_bits", granularityBits, "9 to 31 is allowed");
    if (nameBytes > MAX_NAME_BYTES) throw fail("name_size", nameBytes, `at most ${MAX_NAME_BYTES}`);
    const inUse = (flags & FLAG_IN_USE) !== 0;
    // What is in use may be of another size: the disk was resized while it was.
    if (!inUse && header.sizeBytes > tableEntries * header.clusterSizeBytes * 8 * 2 ** granularityBits)
      throw fail("bitmap_table_size", tableEntries, `a disk of ${header.sizeBytes} bytes needs more`);
    const nameAt = at + ENTRY_FIXED_BYTES;
    const nameField = bytes.subarray(nameAt, nameAt + nameBytes);
    const nameEnd = nameField.indexOf(0);
    const name = new TextDecoder().decode(nameEnd < 0 ? nameField : nameField.subarray(0, nameEnd));
    if (names.has(name)) throw fail("name", name, "another bitmap has it too");
    names.add(name);
    bitmaps.push({
      name,
      granularityBytes: 2 ** granularityBits,
      inUse,
      auto: (flags & FLAG_AUTO) !== 0,
      tableOffsetBytes,
      tableEntries,
      flagsOffsetBytes: entryAt + FLAGS_AT,
    });
    at = end;
  }
  if (bitmaps.length !== directory.count)
    throw failure(fileName, "the bitmap directory", directory.offsetBytes)(
      "number of entries",
      bitmaps.length,
      `the header extension says ${directory.count}`,
    );
  return bitmaps;
}

/**
 * What must be written before the guest's disk is: the in_use flag of every enabled bitmap that is not in
 * use yet. With it the autoclear bit may stay set: it says that the directory is sound, and the flag that
 * the bitmap no longer tells what has changed. QEMU then reports such bitmaps as inconsistent, still counts
 * their clusters, and lets them be removed.
 *
 * A bitmap that is not enabled records nothing, so writes leave it true; a resize does not, so before one
 * ask for `all`.
 *
 * @returns the writes, none when nothing needs to change. Make them durable before the first data write.
 * @throws ByreError CORRUPT when the directory cannot be understood; what the file meets.
 */
export async function markBitmapsInUse(
  file: BlockFile,
  header: Qcow2Header,
  options: { all?: boolean } = {},
): Promise<PlannedWrite[]> {
  const bitmaps = await readBitmaps(file, header);
  return bitmaps
    .filter(({ auto, inUse }) => !inUse && (auto || options.all === true))
    .map(({ auto, flagsOffsetBytes }) => {
      const bytes = new Uint8Array(4);
      viewOf(bytes).setUint32(0, FLAG_IN_USE | (auto ? FLAG_AUTO : 0));
      return { offsetBytes: flagsOffsetBytes, bytes };
    });
}

/** Entries that the table of a bitmap in good order has: what the disk's size asks for. */
export function neededTableEntries(bitmap: Qcow2Bitmap, header: Qcow2Header): number {
  const bits = Math.ceil(header.sizeBytes / bitmap.granularityBytes);
  // Stored in words of 64 bits.
  return Math.ceil((Math.ceil(bits / 64) * 8) / header.clusterSizeBytes);
}

/** Not held to the safe integers: past them, only that it is past the end of the file matters. */
function readU64Loosely(view: DataView, at: number): number {
  return view.getUint32(at) * TWO_32 + view.getUint32(at + 4);
}

function failure(fileName: string, where: string, offsetBytes?: number) {
  return (field: string, value: number | string, expected: string): ByreError => {
    const data: ByreErrorData = { file: fileName, field, value, offsetBytes };
    const place = offsetBytes === undefined ? "" : ` at offset ${offsetBytes}`;
    return new ByreError(
      "CORRUPT",
      `${fileName}: the ${field} of ${where}${place} is ${value}; ${expected}.`,
      data,
    );
  };
}
