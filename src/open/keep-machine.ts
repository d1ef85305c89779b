import { ByreError, type IndexedDbFile } from "../../disk/index.ts";
import { iconIn } from "../appliance/icon-data.ts";
import { deleteFiles } from "../library/block-store.ts";
import { library } from "../library/library.ts";
import {
  type BaseSnapshot,
  type MachineRecord,
  machineName,
  nameForMachine,
  newId,
  type PinnedFile,
} from "../library/machine-record.ts";
import type { ApplianceWishes } from "../settings/machine-settings.ts";
import { type BaseChain, pinnedChain, type RemoteOptions } from "./base-chain.ts";
import type { BaseStart, StartWish } from "./base-start.ts";
import { recordOf } from "./change-machine.ts";
import { forgetImported, importDisc, importFiles, sortRunnable } from "./import-files.ts";
import {
  type MachineDisk,
  type MadeDisk,
  makeEmptyDisk,
  makeStoredDisk,
  makeThrowAwayDisk,
  openMachineDisk,
  pinsOf,
} from "./machine-disk.ts";
import type { LinkDrives } from "./machine-link.ts";
import { lockMachine, type MachineLock } from "./machine-lock.ts";
import { deleteMade, makeDrives, type OpenDrives, openDrives } from "./record-drives.ts";

/** A disk that a machine can be started on. */
export interface OpenedDisk {
  readonly disk: MachineDisk;
  readonly drives: OpenDrives;
  readonly name: string;
  /** The files of the base, from the top down. */
  readonly pins: readonly PinnedFile[];
  /** What the appliance asks for. */
  readonly wishes: ApplianceWishes;
  /** The snapshot of the base that the overlay is over. */
  readonly baseSnapshot: BaseSnapshot | undefined;
  /** What was asked for and is not done, in words. */
  readonly notes: readonly string[];
  /** Undefined, as is `lock`, for a machine that is thrown away. */
  readonly record: MachineRecord | undefined;
  readonly lock: MachineLock | undefined;
  /** The record is not kept yet: it is once the machine has started. */
  readonly isNew: boolean;
  /** Lets go of everything; a machine that is not kept yet leaves nothing behind. */
  discard(): Promise<void>;
}

/**
 * Opens a machine that this browser keeps.
 *
 * @throws ByreError IN_USE, FILE_CHANGED, what the files and the driver throw.
 */
export async function openKept(record: MachineRecord, options: RemoteOptions): Promise<OpenedDisk> {
  const lock = await lockMachine(record.id, record.name);
  try {
    // Read again under the lock: another tab may have reset it until now.
    const current = await recordOf(record.id);
    const disk = await openMachineDisk(current, options);
    const drives = await openDrives(current.drives, options).catch(async (error: unknown) => {
      await disk.device.close();
      throw error;
    });
    const discard = async () => {
      try {
        await inTurn([() => drives.close(), () => disk.device.close()]);
      } finally {
        lock.release();
      }
    };
    const { name, baseSnapshot, configuration, display, offeredNetwork } = current;
    const pins = pinsOf(current);
    return {
      disk,
      drives,
      name,
      pins,
      wishes: { configuration, display, offeredNetwork },
      baseSnapshot,
      notes: drives.notes,
      record: current,
      lock,
      isNew: false,
      discard,
    };
  } catch (error) {
    lock.release();
    throw error;
  }
}

/**
 * Makes a machine of what a person dropped: on its disk image, or on an empty disk with a CD or floppy to boot from.
 *
 * @throws ByreError what is wrong with the files; BACKING_MISSING.
 */
export async function makeFromFiles(
  files: readonly File[],
  options: RemoteOptions,
  wish: StartWish,
): Promise<OpenedDisk> {
  const sorted = await sortRunnable(files);
  const imported = await importFiles(sorted, options);
  const { chain, cdrom, floppy } = imported;
  try {
    const openOthers = () => openDrives({ ...(cdrom && { cdrom }), ...(floppy && { floppy }) }, options);
    // A CD of files has nothing to boot.
    const bootsFrom = sorted.cdrom ? "cdrom" : "floppy";
    const medium = imported[bootsFrom];
    const [top] = chain;
    let made: OpenedDisk;
    if (top) made = await makeKept(pinnedChain(chain, options), top.name, wish, openOthers);
    else if (medium) made = await makeOnMedium(medium, bootsFrom, openOthers);
    else throw new ByreError("INTERNAL", "There is nothing to run among these files.");
    const discard = () => inTurn([() => made.discard(), () => forgetImported(imported)]);
    return { ...made, discard };
  } catch (error) {
    await forgetImported(imported);
    throw error;
  }
}

/**
 * As `makeKept`, with files of the person's on a CD in the machine's drive.
 *
 * @throws ByreError as `importDisc` too.
 */
export async function makeWithDisc(
  chain: BaseChain,
  fileName: string,
  wish: StartWish,
  files: readonly File[],
  options: RemoteOptions,
): Promise<OpenedDisk> {
  const cdrom = await importDisc(files, options);
  const forget = () => forgetImported({ chain: [], cdrom, floppy: undefined });
  try {
    const made = await makeKept(chain, fileName, wish, () => openDrives({ cdrom }, options));
    const discard = () => inTurn([() => made.discard(), forget]);
    return { ...made, discard };
  } catch (error) {
    await forget();
    throw error;
  }
}

/**
 * Makes a machine: an overlay over a base, and a record for it. The record is the last to be kept, when the
 * machine has started, so that a bad image leaves nothing behind.
 *
 * @param fileName the machine is called what its image says, or this, and perhaps a number.
 * @param openOthers opens what is in the other drives.
 * @throws ByreError what is wrong with the base. Call it inside `whileMakingFiles`, until the record is kept.
 */
export function makeKept(
  chain: BaseChain,
  fileName: string,
  wish: StartWish,
  openOthers: OpenOthers,
): Promise<OpenedDisk> {
  return makeMachine(fileName, openOthers, async (taken) => {
    const disk = await makeStoredDisk(
      chain,
      (applianceName = "") => nameForMachine(machineName(applianceName) || fileName, taken),
      wish,
    );
    return { disk, pins: chain.pinned() };
  });
}

/** As `makeKept`, for a machine that boots from a CD or a floppy. */
function makeOnMedium(
  medium: PinnedFile,
  bootsFrom: "cdrom" | "floppy",
  openOthers: OpenOthers,
): Promise<OpenedDisk> {
  return makeMachine(medium.name, openOthers, async (taken) => {
    const disk = await makeEmptyDisk(bootsFrom, nameForMachine(medium.name, taken));
    return { disk, pins: [medium], bootsFrom };
  });
}

type OpenOthers = () => Promise<OpenDrives>;

/** @param makeDisk is told the names that other machines have. */
async function makeMachine(
  fileName: string,
  openOthers: OpenOthers,
  makeDisk: (taken: readonly string[]) => Promise<{
    readonly disk: MadeDisk<IndexedDbFile>;
    readonly pins: readonly PinnedFile[];
    readonly bootsFrom?: "cdrom" | "floppy";
  }>,
): Promise<OpenedDisk> {
  const id = newId();
  const taken = (await library.list()).map((record) => record.name);
  const lock = await lockMachine(id, fileName);
  try {
    const { disk, pins, bootsFrom } = await makeDisk(taken);
    const { name } = disk;
    const drives = await openOthers().catch(async (error: unknown) => {
      await disk.device.close();
      await deleteFiles([disk.overlay.fileId]);
      throw error;
    });
    const [base, ...behindBase] = pins;
    if (!base) throw new ByreError("INTERNAL", `The base of ${name} was opened without being pinned.`);
    const now = Date.now();
    const { snapshot: baseSnapshot, notes } = disk.start;
    const wishes = wishesOf(disk.start);
    const record: MachineRecord = {
      id,
      name,
      icon: iconIn(disk.start.metadata),
      createdAt: now,
      lastUsedAt: now,
      base,
      behindBase,
      overlayFileId: disk.overlay.fileId,
      ...(bootsFrom && { bootsFrom }),
      ...wishes,
      baseSnapshot,
      drives: drives.record,
    };
    const discard = async () => {
      try {
        await inTurn([
          // It may have been kept by the time the opening was called off.
          () => library.remove(id),
          () => drives.close(),
          () => disk.device.close(),
          () => deleteMade(drives),
          () => deleteFiles([disk.overlay.fileId]),
        ]);
      } finally {
        lock.release();
      }
    };
    return { disk, drives, name, pins, wishes, baseSnapshot, notes, record, lock, isNew: true, discard };
  } catch (error) {
    lock.release();
    throw error;
  }
}

/** Does each step, also after one that failed. @throws what the first to fail threw. */
async function inTurn(steps: readonly (() => Promise<unknown>)[]): Promise<void> {
  const errors: unknown[] = [];
  for (const step of steps) await step().catch((error: unknown) => errors.push(error));
  if (errors.length > 0) throw errors[0];
}

/** Makes a machine that is gone with the page. */
export async function makeThrowAway(
  chain: BaseChain,
  fileName: string,
  wish: StartWish,
  link: { readonly drives: LinkDrives; readonly options: RemoteOptions },
): Promise<OpenedDisk> {
  const disk = await makeThrowAwayDisk(
    chain,
    (applianceName = "") => machineName(applianceName) || fileName,
    wish,
  );
  const { name } = disk;
  const drives = await makeDrives(link.drives, false, link.options).catch(async (error: unknown) => {
    await disk.device.close();
    throw error;
  });
  const { snapshot: baseSnapshot, notes } = disk.start;
  return {
    disk,
    drives,
    name,
    pins: chain.pinned(),
    wishes: wishesOf(disk.start),
    baseSnapshot,
    notes,
    record: undefined,
    lock: undefined,
    isNew: true,
    discard: async () => {
      await drives.close();
      await disk.device.close();
    },
  };
}

function wishesOf({ configuration, display, network: offeredNetwork }: BaseStart): ApplianceWishes {
  return { configuration, display, offeredNetwork };
}
