import { ByreError, createBlobFile, probeImage, readQcow2Info } from "../../disk/index.ts";
import { imageKind } from "../../emulator/index.ts";
import { lastPart, plainName } from "./file-names.ts";
import { parseNameAtSnapshot } from "./snapshot-file-name.ts";

/** What a machine can do with a file: `plain` ones are handed to it on a CD. */
export type FileKind = "disk" | "cdrom" | "floppy" | "plain";

/** Files that a person gave together, by what a machine does with them. */
export interface SortedFiles {
  /** The image to run, if there is one, and those it may be built on. */
  readonly disk: File | undefined;
  readonly behindDisk: readonly File[];
  readonly cdrom: File | undefined;
  readonly floppy: File | undefined;
  /** Nothing a machine can run: to be put on a CD. */
  readonly plain: readonly File[];
}

/** Names of images, whatever is in them. A disk need not have a boot sector: it may hold data alone. */
const DISK_NAME = /\.(qcow2?|img|raw|dd|dsk|hdd)$/i;
const CD_NAME = /\.iso$/i;

/** Formats of other machines, by how their files begin. */
const FOREIGN: readonly [what: string, offset: number, magic: readonly number[]][] = [
  ["a VMware disk", 0, ascii("KDMV")],
  ["a VMware disk", 0, ascii("# Disk DescriptorFile")],
  ["a VirtualBox disk", 0x40, [0x7f, 0x10, 0xda, 0xbe]],
  ["a Hyper-V disk", 0, ascii("vhdxfile")],
  ["a Virtual PC disk", 0, ascii("conectix")],
];
/** Packed images look like these; packed files as such may well go on a CD. */
const PACKED_IMAGE_NAME = /\.(qcow2?|img|raw|dd|iso)\.(gz|bz2|xz|zst|zip|7z)$/i;

const SECTOR_BYTES = 512;
/** The last two bytes of a boot sector. */
const BOOT_MARK = [0x55, 0xaa];

/**
 * Tells what a file is by its content and, where that says nothing, by its name.
 *
 * @throws ByreError UNSUPPORTED_FEATURE for an image of another kind, with how to convert it; FILE_CHANGED, STORAGE
 *   when it cannot be read.
 */
export async function kindOfFile(file: File): Promise<FileKind> {
  const name = plainName(file.name);
  const blob = createBlobFile(file, { name, cacheBytes: 0 });
  if ((await probeImage(blob)) === "qcow2") return "disk";
  const start = new Uint8Array(Math.min(SECTOR_BYTES, file.size));
  await blob.read(0, start);
  const foreign = FOREIGN.find(([, offset, magic]) => has(start, offset, magic));
  if (foreign) throw convertFirst(file, foreign[0]);
  if (PACKED_IMAGE_NAME.test(file.name))
    throw new ByreError(
      "UNSUPPORTED_FEATURE",
      `${file.name} is packed. Unpack it first, and drop what comes out.`,
      {
        file: file.name,
      },
    );
  const kind = await imageKind(blob);
  if (kind !== "disk") return kind;
  if (CD_NAME.test(file.name)) return "cdrom";
  if (DISK_NAME.test(file.name)) return "disk";
  const wholeSectors = file.size > 0 && file.size % SECTOR_BYTES === 0;
  return wholeSectors && has(start, SECTOR_BYTES - BOOT_MARK.length, BOOT_MARK) ? "disk" : "plain";
}

/**
 * Finds out what a machine is to do with files.
 *
 * @throws ByreError INVALID_ARGUMENT when it is not clear which of several to run; as `kindOfFile`.
 */
export async function sortFiles(files: readonly File[]): Promise<SortedFiles> {
  if (files.length === 0) throw new ByreError("INVALID_ARGUMENT", "No file was dropped.");
  const byKind: Record<FileKind, File[]> = { disk: [], cdrom: [], floppy: [], plain: [] };
  for (const file of files) byKind[await kindOfFile(file)].push(file);
  const disk = byKind.disk.length > 0 ? await diskToRun(byKind.disk) : undefined;
  const [cdrom] = onlyOne(byKind.cdrom, "CD images", "CD drive");
  const [floppy] = onlyOne(byKind.floppy, "floppy images", "floppy drive");
  if (cdrom && byKind.plain.length > 0)
    throw new ByreError(
      "INVALID_ARGUMENT",
      `${namesOf(byKind.plain)} would be put on a CD, and the machine's CD drive has ${cdrom.name} already. ` +
        "Drop one or the other.",
    );
  const behindDisk = byKind.disk.filter((file) => file !== disk);
  return { disk, behindDisk, cdrom, floppy, plain: byKind.plain };
}

function onlyOne(files: readonly File[], what: string, drive: string): readonly File[] {
  if (files.length <= 1) return files;
  throw new ByreError(
    "INVALID_ARGUMENT",
    `${namesOf(files)} are ${what}, and a machine has one ${drive}. Drop one of them; another can take its place while ` +
      "the machine runs.",
  );
}

/** Of several images, the one that no other is built on. */
async function diskToRun(files: readonly File[]): Promise<File | undefined> {
  if (files.length === 1) return files[0];
  const asked = new Set<string>();
  for (const file of files) {
    const blob = createBlobFile(file, { name: plainName(file.name) });
    if ((await probeImage(blob)) !== "qcow2") continue;
    const { backingName } = await readQcow2Info(blob);
    if (backingName === undefined) continue;
    asked.add(lastPart(backingName));
    const part = parseNameAtSnapshot(lastPart(backingName));
    if (part) asked.add(part.fileName);
  }
  const tops = files.filter((file) => !asked.has(file.name));
  if (tops.length === 1) return tops[0];
  throw new ByreError(
    "INVALID_ARGUMENT",
    tops.length === 0
      ? "These images are built on each other in a circle, so none of them can be run."
      : `It is not clear which of ${namesOf(tops)} to run: none is built on another. ` +
          "Drop one image at a time, with its backing files.",
  );
}

/** Names in a message; somebody may drop a whole folder. */
const NAMES_SHOWN = 5;

function namesOf(files: readonly File[]): string {
  const names = files.slice(0, NAMES_SHOWN).map(({ name }) => name);
  const others = files.length - names.length;
  return `${names.join(", ")}${others > 0 ? ` and ${others} more` : ""}`;
}

function convertFirst({ name }: File, what: string): ByreError {
  const target = `${plainName(name).replace(/\.[^.]*$/, "")}.qcow2`;
  return new ByreError(
    "UNSUPPORTED_FEATURE",
    `${name} is ${what}. Convert it first, on your computer: qemu-img convert -O qcow2 "${plainName(name)}" "${target}"`,
    { file: name },
  );
}

function has(bytes: Uint8Array, offset: number, magic: readonly number[]): boolean {
  return magic.every((byte, index) => bytes[offset + index] === byte);
}

function ascii(text: string): number[] {
  return [...new TextEncoder().encode(text)];
}
