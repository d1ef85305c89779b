import { type BlockDevice, ByreError } from "../disk/index.ts";
import { IdeDisk, type IdeDiskEvents, type IdeDiskStats } from "./ide-disk.ts";
import type { InsertOptions, Medium } from "./machine-devices.ts";
import type { V86IdeInterface } from "./v86-internals.ts";

/** The CD drive of a machine. It outlives the emulator it is attached to. */
export interface CdDrive {
  readonly disk: IdeDisk | undefined;
  /** Counted by those that are gone. */
  readonly past: Readonly<IdeDiskStats>;
  readonly medium: Medium | undefined;
  /** Takes this emulator's drive from now on, and puts in it what belongs in it. */
  attach(drive: V86IdeInterface): void;
  /** A saved state has brought what the drive knew then: the guest hears of another CD. */
  refresh(): void;
  /** As `MachineMedia.insertCdrom`. */
  insert(device: BlockDevice, options: InsertOptions): Promise<void>;
  /** The guest's read that is under way fails; the device is let go of when it is over. */
  eject(): void;
  /** Lets go of what is in it. */
  close(): void;
}

/** ATAPI sense: not ready, no medium. */
const NOT_READY = 2;
const NO_MEDIUM = 0x3a;

const SECTOR_BYTES = 2048;

/** As if the drive had been open for a moment: without that a guest goes on with what it remembers of the disc before. */
const CHANGED = 2;

/**
 * @param first in the drive from the beginning.
 * @param onChange called when the CD has changed, also by the guest's doing.
 * @throws ByreError as `IdeDisk.open`.
 */
export async function openCdDrive(
  first: BlockDevice | undefined,
  events: IdeDiskEvents,
  onChange: () => void,
): Promise<CdDrive> {
  let drive: V86IdeInterface | undefined;
  let onEjected: InsertOptions["onEjected"];
  const past: IdeDiskStats = { bytesRead: 0, bytesWritten: 0, requests: 0, cacheHits: 0, flushes: 0 };

  let disk = first && (await IdeDisk.open(first, events));

  const load = () => {
    if (!drive) return;
    drive.buffer = disk ?? null;
    drive.medium_changed = CHANGED;
    if (!disk) return;
    // v86's own way to do this also ends the command that the guest is in the middle of.
    drive.sector_count = Math.ceil(disk.byteLength / SECTOR_BYTES);
    disk.guestEjected = takeOut;
  };
  const takeOut = () => {
    if (!disk) return;
    const [gone, tell] = [disk, onEjected];
    disk = undefined;
    onEjected = undefined;
    if (gone.busy) {
      // As if it were pulled out of the drive in mid-read; one that never answers is got rid of so.
      gone.cancel();
      drive?.cancel_io_operations();
      drive?.atapi_check_condition_response(NOT_READY, NO_MEDIUM);
      drive?.push_irq();
    }
    load();
    for (const field of Object.keys(past) as (keyof IdeDiskStats)[]) past[field] += gone.stats[field];
    onChange();
    // What it is still reading must not be closed under it.
    void gone.released().then(tell);
  };
  return {
    get disk() {
      return disk;
    },
    past,
    get medium() {
      if (!disk) return undefined;
      const { name, sizeBytes } = disk.device;
      return { name, sizeBytes, writable: false };
    },
    attach(next) {
      drive = next;
      if (disk) disk.guestEjected = takeOut;
      if ((next.buffer ?? undefined) !== disk) load();
    },
    refresh() {
      if (!drive || !disk) return;
      const sectors = Math.ceil(disk.byteLength / SECTOR_BYTES);
      const other = disk.savedAs === undefined ? drive.sector_count !== sectors : disk.savedAs === "other";
      drive.medium_changed = other ? CHANGED : 0;
      drive.sector_count = sectors;
    },
    async insert(device, { onEjected: tell }) {
      if (device.sizeBytes === 0)
        throw new ByreError("INVALID_ARGUMENT", `${device.name} is empty.`, { file: device.name });
      const next = await IdeDisk.open(device, events);
      takeOut();
      disk = next;
      onEjected = tell;
      load();
      onChange();
    },
    eject: takeOut,
    close() {
      onEjected?.();
      onEjected = undefined;
    },
  };
}
