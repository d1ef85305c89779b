import {
  type BlockDevice,
  ByreError,
  checkCanHaveSnapshots,
  type Qcow2Device,
  type Qcow2Snapshot,
  toByreError,
  UNFINISHED_SNAPSHOT,
} from "../disk/index.ts";
import type { MachineDisks } from "./machine.ts";

const MAX_NAME_BYTES = 255;

/** A disk whose snapshots go with the machine's. */
export interface SnapshotDisk {
  /** "hda", "hdb", or "state" for the image that has states alone. */
  readonly drive: string;
  readonly device: Qcow2Device;
}

/** A snapshot of every disk of a machine, all of one moment. */
export type SnapshotSet = readonly { readonly disk: SnapshotDisk; readonly snapshot: Qcow2Snapshot }[];

/**
 * The internal snapshots of a machine's writable disks, kept together: one of each disk under one name, the
 * first disk's with the machine's state.
 */
export class SnapshotDisks {
  private readonly disks: readonly SnapshotDisk[];
  /** A disk that the guest writes to and that can have no snapshots. */
  private readonly obstacle: string | undefined;

  constructor({ hda, hdb, state }: MachineDisks) {
    const guests = Object.entries({ hda, hdb }).flatMap(([drive, device]) =>
      device?.writable ? [{ drive, device }] : [],
    );
    this.obstacle = guests.find(({ device }) => !isQcow2(device))?.device.name;
    const disks = guests.flatMap(({ drive, device }) => (isQcow2(device) ? [{ drive, device }] : []));
    if (disks.length === 0 && state?.writable && isQcow2(state))
      disks.push({ drive: "state", device: state });
    this.disks = disks;
  }

  /** The one that has the states. Throws UNSUPPORTED_FEATURE. */
  get main(): SnapshotDisk {
    if (this.obstacle !== undefined)
      throw new ByreError(
        "UNSUPPORTED_FEATURE",
        `The machine cannot be saved: it writes to ${this.obstacle}, which is no qcow2 image and has no snapshots.`,
        { file: this.obstacle },
      );
    const [disk] = this.disks;
    if (disk) return disk;
    throw new ByreError(
      "UNSUPPORTED_FEATURE",
      "This machine has no qcow2 disk that can be written, so there is nowhere to save it to.",
    );
  }

  /** Says when the machine cannot be saved, before it is stopped for it. Throws UNSUPPORTED_FEATURE. */
  checkCanSave(): void {
    void this.main;
    for (const { device } of this.disks) checkCanHaveSnapshots(device.image);
  }

  get others(): readonly SnapshotDisk[] {
    return this.disks.slice(1);
  }

  has(device: BlockDevice): boolean {
    return this.disks.some((disk) => disk.device === device);
  }

  /** Oldest first, without what a crash left unfinished. Empty where nothing can be saved. */
  list(): readonly Qcow2Snapshot[] {
    const [disk] = this.disks;
    return disk && this.obstacle === undefined ? finished(disk) : [];
  }

  /** An id goes before a name; of several of one name, the newest. Throws SNAPSHOT_NOT_FOUND. */
  find(idOrName: string): Qcow2Snapshot {
    const list = this.list();
    const found = list.find(({ id }) => id === idOrName) ?? list.findLast(({ name }) => name === idOrName);
    if (found) return found;
    const names = list.map(({ name }) => `"${name}"`).join(", ") || "none";
    throw new ByreError(
      "SNAPSHOT_NOT_FOUND",
      `This machine has no saved state "${idOrName}". There are: ${names}.`,
      { snapshot: idOrName },
    );
  }

  /**
   * The snapshots of all disks that belong to one of the first.
   *
   * @param ids those of the others, by drive, as the state says; what it does not say is found by name and moment.
   * @throws ByreError SNAPSHOT_NOT_FOUND when a disk has none.
   */
  setOf(snapshot: Qcow2Snapshot, ids: Readonly<Record<string, string>> = {}): SnapshotSet {
    return [
      { disk: this.main, snapshot },
      ...this.others.map((disk) => {
        const found = belonging(finished(disk), snapshot, ids[disk.drive]);
        if (found) return { disk, snapshot: found };
        throw new ByreError(
          "SNAPSHOT_NOT_FOUND",
          `${disk.device.name} has no snapshot that belongs to "${snapshot.name}": not all disks can go back to it.`,
          { file: disk.device.name, snapshot: snapshot.name },
        );
      }),
    ];
  }

  /** The snapshots of the other disks that belong to one of the first, as far as they are there. */
  belongingTo(snapshot: Qcow2Snapshot, ids: Readonly<Record<string, string>>): SnapshotSet {
    return this.others.flatMap((disk) => {
      const found = belonging(finished(disk), snapshot, ids[disk.drive]);
      return found ? [{ disk, snapshot: found }] : [];
    });
  }

  /**
   * Puts all disks back, or none. What they are now is gone.
   *
   * @param then what must succeed too: what the disks are now is kept for as long, one disk's as well.
   * @returns why the disks, which are back, could not be made durable, where a file keeps what it could not
   *   write (a plain file under Node); a later flush tries again.
   * @throws ByreError what it met, and the disks are as before; with `disksApart` in its data when they are not.
   */
  async apply(set: SnapshotSet, then?: () => Promise<void>): Promise<ByreError | undefined> {
    // Nobody reads the disk of an image that has states alone.
    const guests = set.filter(({ disk }) => disk.drive !== "state");
    const before: SnapshotSet[number][] = [];
    let applied = 0;
    let unflushed: ByreError | undefined;
    try {
      if (guests.length > 1 || then) {
        await this.dropUnfinished();
        for (const { disk } of guests)
          before.push({ disk, snapshot: await disk.device.createSnapshot(KEPT) });
      }
      for (const { disk, snapshot } of guests) {
        unflushed = (await applyDisk(disk, snapshot)) ?? unflushed;
        applied++;
      }
      await then?.();
    } catch (error) {
      for (const { disk, snapshot } of before.slice(0, applied))
        await applyDisk(disk, snapshot).catch((undoing: unknown) => {
          throw disksApart(disk, error, undoing);
        });
      throw error;
    } finally {
      // What cannot be dropped now the next save or load drops.
      for (const { disk } of before) await disk.device.dropUnfinishedStates().catch(() => undefined);
    }
    return unflushed;
  }

  /** Drops what crashes and failures left. */
  async dropUnfinished(): Promise<void> {
    for (const { device } of this.disks) await device.dropUnfinishedStates();
  }

  /**
   * Drops a snapshot of all disks. Those that nobody lists are called unfinished first: what a crash or a failure
   * leaves of them the next save drops.
   */
  async delete(doomed: Qcow2Snapshot, ids: Readonly<Record<string, string>>): Promise<void> {
    const others = this.belongingTo(doomed, ids);
    try {
      for (const { disk, snapshot } of others)
        await disk.device.renameSnapshot(snapshot.id, UNFINISHED_SNAPSHOT);
      await this.main.device.deleteSnapshot(doomed.id);
    } catch (error) {
      // On a plain file it may be gone all the same.
      if (this.list().some(({ id }) => id === doomed.id))
        for (const { disk, snapshot } of others)
          await disk.device.renameSnapshot(snapshot.id, snapshot.name).catch(() => undefined);
      throw error;
    }
    for (const { disk, snapshot } of others)
      await disk.device.deleteSnapshot(snapshot.id).catch(() => undefined);
  }
}

/** @throws ByreError INVALID_ARGUMENT for a name that no saved state can have. */
export function checkSnapshotName(name: string): void {
  const bytes = new TextEncoder().encode(name).length;
  if (bytes > 0 && bytes <= MAX_NAME_BYTES && !name.includes("\0") && name !== UNFINISHED_SNAPSHOT) return;
  throw new ByreError(
    "INVALID_ARGUMENT",
    `A saved state cannot be called "${name.slice(0, 80)}": its name has 1 to ${MAX_NAME_BYTES} bytes, no NUL, and is not ` +
      `"${UNFINISHED_SNAPSHOT}".`,
    { lengthBytes: bytes },
  );
}

/** All snapshots of a disk that are whole. */
export function finished({ device }: Pick<SnapshotDisk, "device">): readonly Qcow2Snapshot[] {
  return device.snapshots.filter(({ name }) => name !== UNFINISHED_SNAPSHOT);
}

/** For the time in which several disks go back. */
const KEPT = { name: UNFINISHED_SNAPSHOT, deferFlush: true };

/** Puts one disk back. Returns why it could not be made durable, when it is back all the same. */
async function applyDisk({ device }: SnapshotDisk, snapshot: Qcow2Snapshot): Promise<ByreError | undefined> {
  const { l1OffsetBytes } = device.image;
  try {
    // The state is read from the snapshot; in the disk the next snapshot would only copy it. Nobody was told that
    // what comes back is durable: it becomes so with the guest's next flush.
    await device.applySnapshot(snapshot.id, { withoutState: true, deferFlush: true });
    return undefined;
  } catch (error) {
    // The active tables always move.
    if (device.image.l1OffsetBytes === l1OffsetBytes) throw error;
    return toByreError(error);
  }
}

/** An error after which a guest must not go on: its disks are of different moments. */
function disksApart({ device }: SnapshotDisk, error: unknown, undoing: unknown): ByreError {
  const { code, message } = toByreError(undoing);
  return new ByreError(
    code,
    `${device.name} could neither be put back nor left as it was: ${message} The disks are of different moments now; ` +
      "load a saved state before the guest goes on.",
    { file: device.name, disksApart: true },
    error,
  );
}

/**
 * The snapshot of another disk: the one with the id, or of the name where a copy was numbered anew, and always of the
 * same moment. Only snapshots without a machine's state, which may be made disk by disk, go by their name alone.
 *
 * @param list of that disk's snapshots, those that are whole.
 */
export function belonging(
  list: readonly Qcow2Snapshot[],
  to: Qcow2Snapshot,
  id: string | undefined,
): Qcow2Snapshot | undefined {
  const named = list.filter(({ name }) => name === to.name);
  return (
    list.find((each) => each.id === id && sameMoment(each, to)) ??
    named.findLast((each) => sameMoment(each, to)) ??
    (to.vmStateBytes === 0 ? named.at(-1) : undefined)
  );
}

/** Whoever makes a snapshot of several disks, QEMU too, gives all of them one date. */
export function sameMoment(a: Qcow2Snapshot, b: Qcow2Snapshot): boolean {
  return a.dateSeconds === b.dateSeconds && a.dateNanoseconds === b.dateNanoseconds;
}

function isQcow2(device: BlockDevice): device is Qcow2Device {
  return "beginState" in device;
}
