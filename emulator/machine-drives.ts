import { ByreError, toByreError } from "../disk/index.ts";
import { type CdDrive, openCdDrive } from "./cd-drive.ts";
import { createChangeNotifier } from "./change-notifier.ts";
import type { EmulatorParts } from "./emulator-parts.ts";
import { openFloppy } from "./floppy.ts";
import { createFloppyDrive, type FloppyDrive } from "./floppy-drive.ts";
import { IdeDisk, type IdeDiskEvents } from "./ide-disk.ts";
import type { MachineDisks, MachineStats } from "./machine.ts";
import type { MachineMedia } from "./machine-devices.ts";
import type { V86IdeInterface } from "./v86-internals.ts";

/** The drives of one machine, as one. */
export interface MachineDrives {
  readonly hda: IdeDisk | undefined;
  readonly hdb: IdeDisk | undefined;
  readonly cd: CdDrive;
  readonly fd: FloppyDrive;
  readonly media: MachineMedia;
  /** The names of those that have something in them. */
  readonly used: readonly DriveName[];
  /** Names the emulator that has them from now on. */
  attach(parts: EmulatorParts): void;
  /** Looks at the disks anew, which have been put back to a snapshot, and tells the emulator what has changed. */
  refresh(): Promise<void>;
  /** Names who hears of failures; until then they wait. */
  listen(events: IdeDiskEvents): void;
  /** Whether no request is in flight. */
  readonly atRest: boolean;
  /** Resolves when no request is in flight, with the failure of one that failed. */
  settled(): Promise<ByreError | undefined>;
  /** Makes failed requests again; resolves as `settled`. */
  retry(): Promise<ByreError | undefined>;
  /** @throws ByreError naming the first device that could not be flushed; the others were tried too. */
  flush(): Promise<void>;
  /** Forgets all requests. */
  cancel(): void;
  /** Forgets those that change nothing. */
  cancelReads(): void;
  stats(): DriveStats;
  /** Lets go of what is in the removable drives. */
  close(): void;
}

/** What of a machine's counts is its drives'. */
export type DriveStats = Omit<MachineStats, "networkBytesIn" | "networkBytesOut">;

export type DriveName = "hda" | "hdb" | "cdrom" | "floppy";

/**
 * @throws ByreError INVALID_ARGUMENT for a second disk without a first, and what opening a drive met.
 */
export async function openDrives(disks: MachineDisks): Promise<MachineDrives> {
  if (disks.hdb && !disks.hda)
    throw new ByreError("INVALID_ARGUMENT", "A machine with a second disk (hdb) needs a first (hda).");
  let listener: IdeDiskEvents | undefined;
  const events: IdeDiskEvents = {
    onFailure: (error) => listener?.onFailure(error),
    onCrash: (error) => listener?.onCrash(error),
  };
  const changes = createChangeNotifier();
  const [hda, hdb, cd, floppy] = await Promise.all([
    disks.hda && IdeDisk.open(disks.hda, events),
    disks.hdb && IdeDisk.open(disks.hdb, events),
    openCdDrive(disks.cdrom, events, changes.notify),
    disks.floppy && openFloppy(disks.floppy),
  ]);
  const fd = createFloppyDrive(floppy);
  const ide = () => [hda, hdb, cd.disk].filter((disk) => disk !== undefined);

  let parts: EmulatorParts | undefined;
  const settled = async () => {
    await Promise.all(ide().map((disk) => disk.settled()));
    return ide().find((disk) => disk.failure)?.failure;
  };
  const flushFloppy = ({ device, dirtyBytes, flush }: NonNullable<FloppyDrive["floppy"]>) =>
    flushNamed(device.name, dirtyBytes, flush);
  /** One change of a disk after the other. */
  let line: Promise<unknown> = Promise.resolve();
  const inLine = (change: () => Promise<void>) => {
    const result = line.then(change);
    line = result.catch(() => undefined);
    return result;
  };
  const media: MachineMedia = {
    get cdrom() {
      return cd.medium;
    },
    get floppy() {
      return fd.medium;
    },
    insertCdrom: (device, options = {}) => inLine(() => cd.insert(device, options)),
    ejectCdrom: () => inLine(async () => cd.eject()),
    insertFloppy: (device, options = {}) =>
      inLine(() => fd.insert(device, options, flushFloppy).finally(changes.notify)),
    ejectFloppy: () => inLine(() => fd.eject(flushFloppy).finally(changes.notify)),
    onChange: (listener) => changes.add(listener),
  };
  return {
    hda,
    hdb,
    cd,
    fd,
    media,
    get used() {
      const all = { hda, hdb, cdrom: cd.disk, floppy: fd.floppy };
      return (Object.keys(all) as DriveName[]).filter((name) => all[name] !== undefined);
    },
    attach(next) {
      parts = next;
      const { ide, fdc } = next.emulator.v86.cpu.devices;
      if (ide?.secondary) cd.attach(ide.secondary.master);
      if (fdc.drives[0]) fd.attach(fdc.drives[0]);
    },
    async refresh() {
      // No CD is put back, and one that cannot be read must not end the machine.
      await Promise.all([hda?.refresh(), hdb?.refresh()]);
      const primary = parts?.emulator.v86.cpu.devices.ide?.primary;
      for (const drive of [primary?.master, primary?.slave]) if (drive) mendGeometry(drive);
      cd.refresh();
      fd.refresh();
    },
    listen(events) {
      listener = events;
    },
    get atRest() {
      return ide().every((disk) => !disk.busy || disk.failure);
    },
    settled,
    async retry() {
      await Promise.all(
        ide()
          .filter((disk) => disk.failure)
          .map((disk) => disk.retry()),
      );
      return settled();
    },
    async flush() {
      const flushes = ide()
        .filter((disk) => disk.device.writable)
        .map((disk) =>
          flushNamed(
            disk.device.name,
            () => disk.device.dirtyBytes,
            () => disk.device.flush(),
          ),
        );
      if (fd.floppy) flushes.push(flushFloppy(fd.floppy));
      const results = await Promise.allSettled(flushes);
      for (const result of results) if (result.status === "rejected") throw result.reason;
    },
    cancel() {
      for (const disk of ide()) disk.cancel();
    },
    cancelReads() {
      for (const disk of ide()) disk.cancelReads();
    },
    stats() {
      const sum = (field: keyof IdeDisk["stats"]) =>
        ide().reduce((total, disk) => total + disk.stats[field], cd.past[field]);
      return {
        bytesRead: sum("bytesRead"),
        bytesWritten: sum("bytesWritten"),
        requests: sum("requests"),
        cacheHits: sum("cacheHits"),
        flushes: sum("flushes"),
        dirtyBytes: ide().reduce(
          (total, disk) => total + disk.device.dirtyBytes,
          fd.floppy?.dirtyBytes() ?? 0,
        ),
      };
    },
    close() {
      cd.close();
      fd.close();
    },
  };
}

/** A saved state brings the geometry of the drive that it was saved with, or of none. */
function mendGeometry(drive: V86IdeInterface): void {
  const disk = drive.buffer;
  if (!(disk instanceof IdeDisk)) return;
  if (Math.ceil(disk.byteLength / drive.sector_size) === drive.sector_count) return;
  // The guest finds another disk when it is next started.
  drive.set_disk_buffer(disk);
}

async function flushNamed(name: string, dirtyBytes: () => number, flush: () => Promise<void>): Promise<void> {
  try {
    await flush();
  } catch (cause) {
    const error = toByreError(cause);
    const message = `${name}: ${dirtyBytes()} bytes that the machine wrote could not be stored. ${error.message}`;
    throw new ByreError(error.code, message, { ...error.data, file: name, dirtyBytes: dirtyBytes() }, error);
  }
}
