import {
  ByreError,
  type Qcow2Device,
  type Qcow2Snapshot,
  type StateReader,
  UNFINISHED_SNAPSHOT,
} from "../disk/index.ts";
import type {
  MachineConfiguration,
  MachineDisks,
  SnapshotChange,
  SnapshotDescription,
  Thumbnail,
} from "./machine.ts";
import { checkSnapshotName, finished, SnapshotDisks, type SnapshotSet } from "./snapshot-disks.ts";
import { CaptureRoom, captureState, EMULATOR_VERSION } from "./state-capture.ts";
import { checkDescription, encodeStateHeader, type StateHeader } from "./state-format.ts";
import { type LoadedState, loadState, type StateLoading } from "./state-loading.ts";
import type { CompressionType, StatePacker } from "./state-packer.ts";
import { describeState, isStateProblem, readHeader, readStateHeader, stateProblem } from "./state-reading.ts";
import { type ParentState, stateSizeBytes, writePlain, writeState } from "./state-writing.ts";
import type { V86Emulator } from "./v86-internals.ts";

/** What is saved with a machine beside the machine. */
export interface SaveNotes {
  readonly name: string;
  readonly description: string | undefined;
  readonly thumbnail: Thumbnail | undefined;
  readonly serialTail: string;
  /** How long the guest has run, in nanoseconds. */
  readonly clock: bigint;
}

/** How the writing of a state is followed and ended. */
export interface WriteOptions {
  onProgress?: ((fraction: number) => void) | undefined;
  signal?: AbortSignal | undefined;
}

/** Where a state that is read goes. */
export type ReadOptions = Pick<StateLoading, "put" | "isThere" | "signal"> & Partial<StateLoading>;

/** A snapshot without a machine's state, or of which nobody wants it: the disks alone go back. */
export interface OpenDisks {
  readonly snapshot: Qcow2Snapshot;
  /** The disks that go back with it; none when it is another image's. */
  readonly disks: SnapshotSet;
}

/** A saved state that was looked at and can be loaded. */
export interface OpenState extends OpenDisks {
  readonly device: Qcow2Device;
  readonly reader: StateReader;
  readonly header: StateHeader;
}

/** The saved states of one machine, in the images of its disks. */
export class SavedStates {
  readonly disks: SnapshotDisks;
  private readonly room = new CaptureRoom();
  /** The state the machine was saved to or loaded from last. */
  private last: ParentState | undefined;

  constructor(
    disks: MachineDisks,
    private readonly packer: StatePacker,
    /** The names of the drives that have something in them. */
    private readonly usedDrives: () => readonly string[],
  ) {
    this.disks = new SnapshotDisks(disks);
  }

  /** What can be done before the machine stops. Throws UNSUPPORTED_FEATURE, INVALID_ARGUMENT. */
  async prepare({ name, description }: Pick<SaveNotes, "name" | "description">): Promise<void> {
    checkSnapshotName(name);
    checkDescription(description);
    this.disks.checkCanSave();
    await this.disks.dropUnfinished();
  }

  /**
   * Copies the state and keeps the disks as they are. The machine must stand still until it resolves; what it
   * returns is to be called while the guest goes on, and writes the state.
   */
  async begin(
    emulator: V86Emulator,
    configuration: MachineConfiguration,
    notes: SaveNotes,
  ): Promise<(options: WriteOptions) => Promise<Qcow2Snapshot>> {
    const { device } = this.disks.main;
    const captured = await captureState(emulator, device.header.clusterSizeBytes, this.room);
    const nowMs = Date.now();
    const time = {
      dateSeconds: Math.floor(nowMs / 1000),
      dateNanoseconds: (nowMs % 1000) * 1_000_000,
      vmClockNanoseconds: notes.clock,
    };
    const writer = await device.beginState({
      maxStateBytes: stateSizeBytes(captured, device.header.clusterSizeBytes),
    });
    const others: { readonly disk: SnapshotSet[number]["disk"]; readonly id: string }[] = [];
    const giveUp = async (error: unknown): Promise<never> => {
      // A plain file has what it could not make durable: the state stays then, and its disks with it.
      if (writer.isOver) throw error;
      // What cannot be dropped now the next save drops.
      await writer.cancel().catch(() => undefined);
      for (const { disk, id } of others) await disk.device.deleteSnapshot(id).catch(() => undefined);
      throw error;
    };
    try {
      for (const disk of this.disks.others) {
        const { id } = await disk.device.createSnapshot({
          ...time,
          name: UNFINISHED_SNAPSHOT,
          deferFlush: true,
        });
        others.push({ disk, id });
      }
    } catch (error) {
      return giveUp(error);
    }
    const header = {
      emulator: EMULATOR_VERSION,
      configuration,
      drives: this.usedDrives(),
      memory: captured.memory,
      device: captured.device,
      savedAtMs: nowMs,
      ...(notes.description !== undefined && { description: notes.description }),
      ...(notes.thumbnail && { thumbnail: notes.thumbnail }),
      serialTail: notes.serialTail,
      ...(others.length > 0 && {
        disks: Object.fromEntries(others.map(({ disk, id }) => [disk.drive, id])),
      }),
    };
    const write = async ({ onProgress = () => {}, signal }: WriteOptions): Promise<Qcow2Snapshot> => {
      try {
        const { sizeBytes, prints } = await writeState(writer, captured, {
          packer: this.packer,
          type: typeOf(device),
          parent: this.parent(),
          room: this.room,
          header: (extent) => ({ ...header, prints: extent }),
          onProgress,
          signal,
        });
        // The disk with the state comes last: a state that can be found has all its disks.
        for (const { disk, id } of others) await disk.device.renameSnapshot(id, notes.name);
        const replaced = finished(this.disks.main).filter(({ name }) => name === notes.name);
        const replaces = replaced.map(({ id }) => id);
        const finish = { ...time, name: notes.name, vmStateBytes: sizeBytes, replaces };
        const snapshot = await writer.finish(finish);
        this.last = { snapshot, prints };
        return snapshot;
      } catch (error) {
        return giveUp(error);
      }
    };
    return async (options) => {
      const snapshot = await write(options);
      // The state is whole by now. What cannot be dropped the next save of this name drops.
      await this.dropReplaced(notes.name, others).catch(() => undefined);
      options.onProgress?.(1);
      return snapshot;
    };
  }

  /**
   * Looks at a saved state of the machine's own.
   *
   * @param diskOnly without its machine's state.
   * @throws ByreError SNAPSHOT_NOT_FOUND, STATE_INVALID, UNSUPPORTED_VERSION, STATE_MISMATCH, what reading meets.
   */
  async open(idOrName: string, diskOnly: boolean): Promise<OpenState | OpenDisks> {
    const snapshot = this.disks.find(idOrName);
    const { device } = this.disks.main;
    const state = diskOnly ? undefined : await openState(device, snapshot.id);
    const disks = this.disks.setOf(snapshot, state?.header.disks ?? (await this.idsOf(snapshot)));
    return { ...state, snapshot, disks };
  }

  /**
   * Looks at the state that a machine starts from: one of its own, or another image's. Of that the disks are
   * taken as they are.
   */
  async openForStart(device: Qcow2Device, idOrName: string): Promise<OpenState | OpenDisks> {
    if (this.disks.has(device)) return this.open(idOrName, false);
    const { snapshot } = await device.openState(idOrName);
    return { snapshot, ...(await openState(device, snapshot.id)), disks: [] };
  }

  /** Reads a state that was opened. */
  async read({ device, reader, header }: OpenState, options: ReadOptions): Promise<LoadedState> {
    const { packer, room } = this;
    const type = device.info.compression;
    return loadState(reader, header, { onProgress: () => {}, ...options, packer, room, type });
  }

  /** The machine is now what a state of its own says: the next save shares what has not changed. */
  remember(snapshot: Qcow2Snapshot, { prints }: LoadedState): void {
    this.last = { snapshot, prints };
  }

  async describe(idOrName: string): Promise<SnapshotDescription> {
    const snapshot = this.disks.find(idOrName);
    const { id, name, dateSeconds, dateNanoseconds, vmStateBytes } = snapshot;
    const usage = await this.disks.main.device.snapshotUsage(id);
    return {
      id,
      name,
      savedAtMs: dateSeconds * 1000 + Math.floor(dateNanoseconds / 1_000_000),
      hasState: vmStateBytes > 0,
      ownBytes: usage.ownBytes,
      sharedBytes: usage.sharedBytes,
      ...(await describeState(this.disks.main.device, snapshot)),
    };
  }

  async edit(idOrName: string, { name, description }: SnapshotChange): Promise<void> {
    const snapshot = this.disks.find(idOrName);
    const { device } = this.disks.main;
    checkDescription(description);
    if (name !== undefined) {
      checkSnapshotName(name);
      const other = this.disks.list().find((each) => each.name === name && each.id !== snapshot.id);
      if (other)
        throw new ByreError("INVALID_ARGUMENT", `There is another saved state called "${name}".`, { name });
    }
    const others = this.disks.belongingTo(snapshot, await this.idsOf(snapshot));
    if (description !== undefined) {
      const header = await readStateHeader(device, snapshot.id);
      if (!header)
        throw new ByreError(
          "INVALID_ARGUMENT",
          `The snapshot "${snapshot.name}" has no machine's state, and no room for a description.`,
          { snapshot: snapshot.name },
        );
      await this.writeHeader(snapshot, { ...header, description }, name ?? snapshot.name);
    } else if (name !== undefined) await device.renameSnapshot(snapshot.id, name);
    if (name !== undefined)
      for (const { disk, snapshot } of others) await disk.device.renameSnapshot(snapshot.id, name);
  }

  async delete(idOrName: string): Promise<void> {
    const snapshot = this.disks.find(idOrName);
    await this.disks.delete(snapshot, await this.idsOf(snapshot));
  }

  /** The image's text of a state, in one change with its name. */
  private async writeHeader(snapshot: Qcow2Snapshot, header: StateHeader, name: string): Promise<void> {
    const { device } = this.disks.main;
    const writer = await device.editState(snapshot.id);
    try {
      await writePlain(writer, 0, encodeStateHeader(header), { packer: this.packer, type: typeOf(device) });
      const edited = await writer.finish({ name, vmStateBytes: snapshot.vmStateBytes });
      // Its tables have moved; its clusters are the same.
      if (this.last?.snapshot.id === snapshot.id) this.last = { ...this.last, snapshot: edited };
    } catch (error) {
      await writer.cancel().catch(() => undefined);
      throw error;
    }
  }

  /** The ids a state keeps of the other disks' snapshots; none when it cannot be read. */
  private async idsOf(snapshot: Qcow2Snapshot): Promise<Readonly<Record<string, string>>> {
    if (this.disks.others.length === 0) return {};
    try {
      return (await readStateHeader(this.disks.main.device, snapshot.id))?.disks ?? {};
    } catch (error) {
      if (isStateProblem(error)) return {};
      throw error;
    }
  }

  /** What the other disks still have of states that were replaced. */
  private async dropReplaced(
    name: string,
    kept: readonly { disk: SnapshotSet[number]["disk"]; id: string }[],
  ): Promise<void> {
    for (const { disk, id } of kept)
      for (const old of finished(disk))
        if (old.name === name && old.id !== id) await disk.device.deleteSnapshot(old.id);
  }

  /** The state to share from, when it is still there. */
  private parent(): ParentState | undefined {
    const { last } = this;
    const there = this.disks
      .list()
      .find(
        ({ id, l1OffsetBytes }) => id === last?.snapshot.id && l1OffsetBytes === last.snapshot.l1OffsetBytes,
      );
    return last && there && { ...last, snapshot: there };
  }
}

/** Reads and checks the header of a state that is to be loaded; undefined when there is none. */
async function openState(
  device: Qcow2Device,
  idOrName: string,
): Promise<Omit<OpenState, "disks"> | undefined> {
  const reader = await device.openState(idOrName);
  const { snapshot } = reader;
  if (reader.sizeBytes === 0) return undefined;
  const header = await readHeader(reader);
  const problem = stateProblem(header, snapshot.name);
  if (problem) throw problem;
  return { device, reader, header, snapshot };
}

/** How clusters of a new state are packed; encrypted ones are not. */
function typeOf(device: Qcow2Device): CompressionType | undefined {
  return device.image.cipher ? undefined : device.info.compression;
}
