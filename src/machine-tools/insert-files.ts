import {
  type BlockDevice,
  createBlobFile,
  createIso,
  createMemoryFile,
  type MemoryFile,
  openRawDevice,
} from "../../disk/index.ts";
import { pathOf } from "../library/import-sources.ts";
import { plainName } from "../open/file-names.ts";
import type { MachineSession } from "../open/machine-session.ts";
import { kindOfFile } from "../open/sort-files.ts";

/** What a running machine can be given files as: a CD, a floppy disk, or on a CD that is made of them. */
export type InsertChoice = "cdrom" | "floppy" | "files";

/** What to do with files that come while a machine runs. `machine`: run them as another machine. */
export type FilesChoice = InsertChoice | "machine";

/** Of the floppies that were put in here: where the guest's writes go, so that they can be saved. */
const floppies = new WeakMap<MachineSession, MemoryFile>();

/** What can be done with files while a machine runs, the most likely first. Never empty. */
export async function filesChoices(files: readonly File[]): Promise<readonly FilesChoice[]> {
  // An image of a kind that cannot be run can still be given to the machine, as any other file.
  const kinds = await Promise.all(files.map((file) => kindOfFile(file).catch(() => "plain" as const)));
  const [kind] = kinds;
  if (kinds.every((each) => each === "plain")) return ["files"];
  if (kinds.length === 1 && (kind === "cdrom" || kind === "floppy")) return [kind, "machine"];
  return ["machine", "files"];
}

/**
 * Puts files into a running machine, in the place of what is in the drive. They are read when the guest reads them; a
 * floppy is read at once, and what the guest writes to it is kept in memory.
 *
 * @returns what the guest finds in the drive.
 * @throws ByreError TOO_LARGE, INVALID_ARGUMENT for what such a drive cannot take; what reading the files meets. What
 *   was in the drive is still there then.
 */
export async function insertIntoRunning(
  session: MachineSession,
  files: readonly File[],
  choice: InsertChoice,
): Promise<{ readonly drive: "cdrom" | "floppy"; readonly name: string }> {
  const { media } = session;
  if (choice === "floppy") {
    const [file] = files;
    const floppy = await readWhole(file);
    const device = openRawDevice(floppy, { writable: true });
    await lend(device, (onEjected) =>
      media.insertFloppy(device, {
        onEjected: () => {
          if (floppies.get(session) === floppy) floppies.delete(session);
          onEjected();
        },
      }),
    );
    floppies.set(session, floppy);
    return { drive: "floppy", name: device.name };
  }
  const device = openRawDevice(choice === "cdrom" ? discOf(files[0]) : cdOf(files), { writable: false });
  await lend(device, (onEjected) => media.insertCdrom(device, { onEjected }));
  return { drive: "cdrom", name: device.name };
}

/**
 * The floppy disk that was put in here, with what the guest has written to it; undefined for one that the machine had
 * already, which is kept with the machine.
 *
 * @throws ByreError what storing what the guest wrote meets.
 */
export async function floppyBytes(session: MachineSession): Promise<Uint8Array<ArrayBuffer> | undefined> {
  await session.flush();
  return floppies.get(session)?.toBytes();
}

/** Whether `floppyBytes` has something to give. */
export function hasOwnFloppy(session: MachineSession): boolean {
  return floppies.has(session);
}

/** What the machine takes it gives back; what it does not take is closed here. */
async function lend(device: BlockDevice, insert: (onEjected: () => void) => Promise<void>): Promise<void> {
  try {
    await insert(() => void device.close().catch(() => {}));
  } catch (error) {
    await device.close();
    throw error;
  }
}

/** A floppy disk is small; one larger is refused before it is read. */
const MOST_FLOPPY_BYTES = 2880 * 1024;

async function readWhole(file: File | undefined): Promise<MemoryFile> {
  const source = discOf(file);
  try {
    const content = new Uint8Array(Math.min(source.sizeBytes, MOST_FLOPPY_BYTES + 1));
    await source.read(0, content);
    return createMemoryFile({ name: source.name, content });
  } finally {
    await source.close();
  }
}

function discOf(file: File | undefined) {
  if (!file) throw new RangeError("no file was given");
  return createBlobFile(file, { name: plainName(file.name) });
}

function cdOf(files: readonly File[]) {
  const [first] = files;
  const name = files.length === 1 && first ? plainName(first.name) : `${files.length} files`;
  return createIso(
    files.map((file) => ({ path: pathOf(file), content: file, mtimeMs: file.lastModified })),
    { name },
  );
}
