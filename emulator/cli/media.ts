import { rmSync } from "node:fs";
import {
  backingResolver,
  ExitCode,
  ExitError,
  type OpenImageOptions,
  openFileSpec,
  openImage,
  parseImageSpec,
} from "../../disk/cli/index.ts";
import {
  type BackingResolver,
  type BlockDevice,
  ByreError,
  createMemoryFile,
  createQcow2,
  metadataOf,
  openQcow2,
  type Qcow2Device,
  type Qcow2Snapshot,
} from "../../disk/index.ts";
import { openNodeFile } from "../../disk/node.ts";
import { applianceConfiguration } from "../appliance-configuration.ts";
import { type ImageKind, imageKind } from "../image-kind.ts";
import type { MachineConfiguration, MachineDisks, StartFrom } from "../machine.ts";
import { belonging, finished } from "../snapshot-disks.ts";
import { readStateHeader } from "../state-reading.ts";
import { checkUsedOnce, type FileUse } from "./file-uses.ts";

/** What a machine in the terminal is made of, as the command line names it. */
export interface MediaOptions {
  /** The image that was named first: a disk, a CD or a floppy. Without one, what the others name. */
  readonly file?: string | undefined;
  readonly image: OpenImageOptions;
  readonly hdb?: string | undefined;
  readonly cdrom?: string | undefined;
  readonly floppy?: string | undefined;
  /** A qcow2 image for saved states alone; made when it is not there. */
  readonly state?: string | undefined;
  /** What the guest writes is kept in memory and gone at the end. */
  readonly throwAway: boolean;
  /** The machine is to be saved. */
  readonly saves: boolean;
  /** A snapshot to start from; false for none, whatever the image says; undefined for what it says. */
  readonly snapshot?: string | false | undefined;
}

/** Opened disks, and what they say of the machine. */
export interface Media {
  readonly disks: MachineDisks;
  /** What the image's metadata asks for, and the drive it is to boot from. */
  readonly configuration: Partial<MachineConfiguration>;
  readonly startFrom: StartFrom | undefined;
  /** A saved state that the image would be started from, if its disk could go back to it. */
  readonly offeredState: string | undefined;
  /**
   * Closes all of them, also after one that fails, whose error it throws then.
   *
   * @param unused no machine has run with them: what was made for it is removed again.
   */
  close(options: { unused: boolean }): Promise<void>;
}

/**
 * Opens all that a machine is made of.
 *
 * @throws ExitError for what does not go together; ByreError for what cannot be opened, and IN_USE for a file that is
 *   written and named twice.
 */
export async function openMedia(options: MediaOptions): Promise<Media> {
  const opened: BlockDevice[] = [];
  const made: string[] = [];
  const keep = <Device extends BlockDevice>(device: Device): Device => {
    opened.push(device);
    return device;
  };
  const close: Media["close"] = async ({ unused }) => {
    const failures: unknown[] = [];
    for (const device of opened.splice(0).reverse())
      await device.close().catch((error: unknown) => failures.push(error));
    if (unused) for (const path of made) rmSync(path, { force: true });
    if (failures.length > 0) throw failures[0];
  };
  try {
    return { ...(await openAll(options, keep, made)), close };
  } catch (error) {
    await close({ unused: true }).catch(() => undefined);
    throw error;
  }
}

type Keep = <Device extends BlockDevice>(device: Device) => Device;

/** @param made gets the paths of files that were not there before. */
async function openAll(options: MediaOptions, keep: Keep, made: string[]): Promise<Omit<Media, "close">> {
  const { file, throwAway } = options;
  const disks: MachineDisks = {};
  const configuration: Partial<MachineConfiguration> = {};
  let snapshot = options.snapshot === false ? undefined : options.snapshot;
  let offeredState: string | undefined;

  const found = file === undefined ? undefined : await look(file, options.image);
  await checkUsedOnce(usesOf(options, found?.kind));
  if (file !== undefined && found) {
    if (found.kind === "disk") {
      const asked = applianceConfiguration(found.metadata);
      Object.assign(configuration, asked.configuration);
      for (const note of asked.notes) options.image.onWarning?.(note);
      if (options.snapshot === undefined) {
        const said = savedMachine(file, found, options.image);
        if (throwAway) snapshot = said;
        else offeredState = said;
      }
      disks.hda = keep(
        throwAway
          ? await openThrowAway(file, options.image, found.isQcow2 ? snapshot : undefined)
          : await openDisk(file, options.image),
      );
    } else {
      configuration.bootOrder = found.kind;
      disks[found.kind] = keep(await openMedium(file, found.kind, throwAway));
    }
  }
  if (options.hdb !== undefined) {
    const below = throwAway && snapshot !== undefined ? qcow2Below(disks.hda) : undefined;
    const at =
      below && snapshot !== undefined ? await snapshotOfHdb(options.hdb, below, snapshot) : undefined;
    disks.hdb = keep(throwAway ? await openThrowAway(options.hdb, {}, at) : await openDisk(options.hdb, {}));
  }
  for (const kind of ["cdrom", "floppy"] as const) {
    const name = options[kind];
    if (name === undefined) continue;
    if (disks[kind]) throw failed(`${file} is a ${kind} already; give the other one alone.`);
    disks[kind] = keep(await openMedium(name, kind, throwAway));
    if (!disks.hda) configuration.bootOrder ??= kind;
  }
  // A disk in memory is a qcow2 image too, and would have the state.
  if (throwAway && options.saves && (disks.hda || options.state === undefined))
    throw failed(
      "--snapshot keeps nothing of a disk, so there is nothing for --savevm-on-exit to save to. Leave one of them out.",
    );
  if (options.state !== undefined) disks.state = keep(await openStateDisk(options.state, made));
  if (!disks.hda && !disks.cdrom && !disks.floppy)
    throw failed("a machine needs something to boot from: a disk image, --cdrom or --floppy.");
  const startFrom = snapshot === undefined ? undefined : startingFrom(snapshot, disks, throwAway);
  return { disks, configuration, startFrom, offeredState };
}

/** What the command line names, and which of it is written. */
function usesOf(options: MediaOptions, kind: ImageKind | undefined): FileUse[] {
  const { file, hdb, cdrom, floppy, state } = options;
  const raw = { format: "raw" };
  const isWritten = !options.throwAway;
  const first = { disk: "the disk", cdrom: "the CD", floppy: "the floppy" }[kind ?? "disk"];
  return [
    {
      as: first,
      spec: file,
      image: kind === "disk" ? options.image : raw,
      isWritten: isWritten && kind !== "cdrom",
    },
    { as: "--hdb", spec: hdb, image: {}, isWritten },
    { as: "--cdrom", spec: cdrom, image: raw, isWritten: false },
    { as: "--floppy", spec: floppy, image: raw, isWritten },
    { as: "--state", spec: state, image: { format: "qcow2" }, isWritten: true },
  ].filter((use): use is FileUse => use.spec !== undefined);
}

interface Found {
  readonly kind: ImageKind;
  readonly metadata: ReadonlyMap<string, string>;
  readonly isQcow2: boolean;
  /** The internal snapshots that are whole. */
  readonly snapshots: readonly Qcow2Snapshot[];
}

/** Looks at an image before it is known how it is to be opened. */
async function look(file: string, options: OpenImageOptions): Promise<Found> {
  const { device, format } = await openImage(file, options);
  try {
    if (format === "qcow2") {
      const qcow2 = device as Qcow2Device;
      const metadata = metadataOf(qcow2.header, file);
      return { kind: "disk", metadata, isQcow2: true, snapshots: finished({ device: qcow2 }) };
    }
    const kind = options.format === undefined ? await imageKind(device) : "disk";
    return { kind, metadata: new Map(), isQcow2: false, snapshots: [] };
  } finally {
    await device.close();
  }
}

/** The saved machine that an image's metadata says it starts from, if it is still there. */
function savedMachine(
  file: string,
  { metadata, snapshots }: Found,
  options: OpenImageOptions,
): string | undefined {
  const said = metadata.get("machine.snapshot");
  if (said === undefined || snapshots.some(({ id, name }) => id === said || name === said)) return said;
  options.onWarning?.(
    `${file} says that it starts from the saved machine "${said}", which is not in it: its disk is booted.`,
  );
  return undefined;
}

async function openDisk(file: string, options: OpenImageOptions): Promise<BlockDevice> {
  const { device, format, probed } = await openImage(file, { ...options, writable: true }).catch(
    (error: unknown) => {
      if (!(error instanceof ByreError && ["READ_ONLY", "ACCESS_DENIED"].includes(error.code))) throw error;
      throw failed(`${error.message} With --snapshot it need not be written.`);
    },
  );
  if (format !== "raw" || !probed) return device;
  await device.close();
  throw failed(
    `${file} looks like a raw disk. A guest can write anything to the start of one and so make it look like another ` +
      "format the next time: say -f raw to have it written, or --snapshot to keep what it writes in memory.",
  );
}

/** A CD is only read. A floppy is always raw, so that what a guest writes to it never becomes a format. */
async function openMedium(file: string, kind: "cdrom" | "floppy", throwAway: boolean): Promise<BlockDevice> {
  if (kind === "cdrom") return (await openImage(file, { format: "raw" })).device;
  if (throwAway) return await openThrowAway(file, { format: "raw" }, undefined);
  return (await openImage(file, { format: "raw", writable: true })).device;
}

/** A disk in memory over an image, perhaps as a snapshot has it. */
async function openThrowAway(
  spec: string,
  options: OpenImageOptions,
  snapshot: string | undefined,
): Promise<Qcow2Device> {
  const image = parseImageSpec(spec, options);
  const { device, format } = await openImage(spec, { ...options, snapshot });
  const { sizeBytes } = device;
  await device.close();
  const file = createMemoryFile({ name: `what is written over ${image.filename}` });
  // Sizes of disks are whole sectors; a raw file's end may not be.
  const wholeBytes = Math.ceil(sizeBytes / 512) * 512;
  await createQcow2(file, { sizeBytes: wholeBytes, backing: { name: image.filename, format } });
  const below = backingResolver(image.file);
  let isFirst = true;
  const resolveBacking: BackingResolver = async (request) => {
    if (!isFirst) return await below(request);
    isFirst = false;
    return { file: await openFileSpec(image.file), ...(snapshot !== undefined && { snapshot }) };
  };
  return await openQcow2(file, { writable: true, resolveBacking });
}

/** The qcow2 image that a disk in memory is over. */
function qcow2Below(disk: BlockDevice | undefined): Qcow2Device | undefined {
  const below = (disk as Qcow2Device | undefined)?.backing;
  return below && "openState" in below ? (below as Qcow2Device) : undefined;
}

/**
 * The snapshot of a second disk that belongs to one of the first, as a load finds it on disks that are written. Undefined
 * where the second was not saved with the first: it is as it is then.
 */
async function snapshotOfHdb(spec: string, hda: Qcow2Device, idOrName: string): Promise<string | undefined> {
  const { snapshot } = await hda.openState(idOrName);
  const id = (await readStateHeader(hda, idOrName))?.disks?.hdb;
  const { device } = await openImage(spec, {});
  try {
    const all = "snapshots" in device ? finished({ device: device as Qcow2Device }) : [];
    const found = belonging(all, snapshot, id);
    if (found || id === undefined) return found?.id;
  } finally {
    await device.close();
  }
  throw failed(
    `${spec} has no snapshot that belongs to "${snapshot.name}": not all disks can go back to it.`,
  );
}

/** The image for saved states; a new one holds nothing else. */
async function openStateDisk(path: string, made: string[]): Promise<BlockDevice> {
  try {
    const file = await openNodeFile(path, { create: true });
    made.push(path);
    try {
      await createQcow2(file, { sizeBytes: 0 });
    } finally {
      await file.close();
    }
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "IN_USE")) throw error;
  }
  return (await openImage(path, { format: "qcow2", writable: true })).device;
}

function startingFrom(snapshot: string, disks: MachineDisks, throwAway: boolean): StartFrom {
  const { hda, hdb, state } = disks;
  // The image below has it, and the disk over it is at that snapshot.
  const below = throwAway ? qcow2Below(hda) : undefined;
  if (below) return { device: below, snapshot };
  const own = [hda, hdb, state].find(
    (disk): disk is Qcow2Device => disk?.writable === true && "openState" in disk,
  );
  if (own && !(throwAway && hda)) return { device: own, snapshot };
  throw failed("there is no qcow2 image here that could have a saved state; --state FILE names one.");
}

function failed(message: string): ExitError {
  return new ExitError(ExitCode.FAILED, message);
}
