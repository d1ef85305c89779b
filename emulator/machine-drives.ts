import { ByreError, toByreError } from "../disk/index.ts";
import type { EmulatorParts } from "./emulator-parts.ts";
import { type Floppy, openFloppy } from "./floppy.ts";
import { IdeDisk, type IdeDiskEvents } from "./ide-disk.ts";
import type { MachineDisks, MachineStats } from "./machine.ts";
import type { V86IdeInterface } from "./v86-internals.ts";

/** The drives of one machine, as one. */
export interface MachineDrives {
  readonly hda: IdeDisk | undefined;
  readonly hdb: IdeDisk | undefined;
  readonly cdrom: IdeDisk | undefined;
  readonly floppy: Floppy | undefined;
  /** Names the emulator that has them from now on. */
  attach(parts: EmulatorParts): void;
  /** Looks at the disks anew, which have been put back to a snapshot, and tells the emulator what has changed. */
  refresh(): Promise<void>;
  /** Names who hears of failures; until then they wait. */
  listen(events: IdeDiskEvents): void;
  /** Resolves when no request is in flight, with the failure of one that failed. */
  settled(): Promise<ByreError | undefined>;
  /** Makes failed requests again; resolves as `settled`. */
  retry(): Promise<ByreError | undefined>;
  /** @throws ByreError naming the first device that could not be flushed; the others were tried too. */
  flush(): Promise<void>;
  /** Forgets all requests. */
  cancel(): void;
  stats(): MachineStats;
}

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
  const [hda, hdb, cdrom, floppy] = await Promise.all([
    disks.hda && IdeDisk.open(disks.hda, events),
    disks.hdb && IdeDisk.open(disks.hdb, events),
    disks.cdrom && IdeDisk.open(disks.cdrom, events),
    disks.floppy && openFloppy(disks.floppy),
  ]);
  const ide = [hda, hdb, cdrom].filter((disk) => disk !== undefined);

  let parts: EmulatorParts | undefined;
  const settled = async () => {
    await Promise.all(ide.map((disk) => disk.settled()));
    return ide.find((disk) => disk.failure)?.failure;
  };
  return {
    hda,
    hdb,
    cdrom,
    floppy,
    attach(next) {
      parts = next;
      floppy?.inserted(() => next.emulator.v86.cpu.devices.fdc.drives[0]?.get_buffer() ?? null);
    },
    async refresh() {
      await Promise.all(ide.map((disk) => disk.refresh()));
      const channels = parts?.emulator.v86.cpu.devices.ide;
      for (const drive of [channels?.primary?.master, channels?.primary?.slave, channels?.secondary?.master])
        if (drive) mendGeometry(drive);
    },
    listen(events) {
      listener = events;
    },
    settled,
    async retry() {
      await Promise.all(ide.filter((disk) => disk.failure).map((disk) => disk.retry()));
      return settled();
    },
    async flush() {
      const flushes = ide
        .filter((disk) => disk.device.writable)
        .map((disk) =>
          flushNamed(
            disk.device.name,
            () => disk.device.dirtyBytes,
            () => disk.device.flush(),
          ),
        );
      if (floppy && disks.floppy)
        flushes.push(
          flushNamed(
            disks.floppy.name,
            () => floppy.dirtyBytes(),
            () => floppy.flush(),
          ),
        );
      const results = await Promise.allSettled(flushes);
      for (const result of results) if (result.status === "rejected") throw result.reason;
    },
    cancel() {
      for (const disk of ide) disk.cancel();
    },
    stats() {
      const sum = (field: keyof IdeDisk["stats"]) =>
        ide.reduce((total, disk) => total + disk.stats[field], 0);
      return {
        bytesRead: sum("bytesRead"),
        bytesWritten: sum("bytesWritten"),
        requests: sum("requests"),
        cacheHits: sum("cacheHits"),
        flushes: sum("flushes"),
        dirtyBytes: ide.reduce((total, disk) => total + disk.device.dirtyBytes, floppy?.dirtyBytes() ?? 0),
      };
    },
  };
}

/** A saved state brings the geometry of the drive that it was saved with, or of none. */
function mendGeometry(drive: V86IdeInterface): void {
  const disk = drive.buffer;
  if (!(disk instanceof IdeDisk)) return;
  if (Math.ceil(disk.byteLength / drive.sector_size) === drive.sector_count) return;
  // The guest hears of another CD; another disk it finds when it is next started.
  if (drive.is_atapi) drive.set_cdrom(disk);
  else drive.set_disk_buffer(disk);
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
