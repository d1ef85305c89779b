import {
  type BlockDevice,
  ByreError,
  type Qcow2Device,
  type Qcow2Snapshot,
  type StateReader,
  UNFINISHED_SNAPSHOT,
} from "../disk/index.ts";
import type { MachineConfiguration, MachineDisks, SnapshotChange, SnapshotDescription } from "./machine.ts";
import { guestMemory, restoreDevices } from "./machine-memory.ts";
import { ClusterFingerprints, fingerprint } from "./saved-clusters.ts";
import { type CapturedState, CaptureRoom, captureState, EMULATOR_VERSION } from "./state-capture.ts";
import type { StateHeader } from "./state-format.ts";
import { readHeader, readStateHeader } from "./state-reading.ts";
import type { V86Emulator } from "./v86-internals.ts";

/** zlib's fastest: a state is written while the guest waits for the processor. */
const COMPRESSION_LEVEL = 1;
/** A cluster is kept plain when packing it saves less than this part of it. */
const LEAST_SAVING = 1 / 16;
/** Most bytes of a state read at once. */
const READ_BYTES = 1024 * 1024;

/** How a save is going on, 0 to 1. */
export type SaveProgress = (fraction: number) => void;

/**
 * The saved states of one machine, in the images of its writable disks. The first of them has the state; all
 * of them have a snapshot of the same name.
 */
export class SavedStates {
  private readonly disks: readonly Qcow2Device[];
  private readonly drives: readonly string[];
  private readonly room = new CaptureRoom();
  /** The state the machine was saved to or loaded from last, and what its clusters were. */
  private last: { snapshot: Qcow2Snapshot; prints: ClusterFingerprints } | undefined;

  constructor(
    private readonly emulator: V86Emulator,
    private readonly configuration: MachineConfiguration,
    disks: MachineDisks,
  ) {
    this.disks = [disks.hda, disks.hdb].filter(isWritableQcow2);
    this.drives = (["hda", "hdb", "cdrom", "floppy"] as const).filter((drive) => disks[drive] !== undefined);
  }

  /** Oldest first, without what a crash left unfinished. */
  list(): readonly Qcow2Snapshot[] {
    return this.stateDisk().snapshots.filter(({ name }) => name !== UNFINISHED_SNAPSHOT);
  }

  /**
   * Copies the state and keeps the disks as they are. The machine must stand still until it resolves; what it
   * returns is to be called while the guest goes on, and writes the state.
   */
  async begin(name: string): Promise<(onProgress?: SaveProgress) => Promise<Qcow2Snapshot>> {
    const disk = this.stateDisk();
    await Promise.all(this.disks.map((each) => each.dropUnfinishedStates()));
    const state = await captureState(this.emulator, {
      configuration: this.configuration,
      drives: this.drives,
      clusterSizeBytes: disk.header.clusterSizeBytes,
      room: this.room,
    });
    const writer = await disk.beginState({ maxStateBytes: state.sizeBytes });
    const others: Qcow2Snapshot[] = [];
    try {
      for (const other of this.others())
        others.push(await other.createSnapshot({ name: UNFINISHED_SNAPSHOT }));
    } catch (error) {
      await this.forget();
      throw error;
    }
    return async (onProgress = () => {}) => {
      try {
        const prints = await this.write(disk, writer, state, onProgress);
        // The disk with the state comes last: a state that can be found has all its disks.
        for (const other of this.others()) await other.renameSnapshot(UNFINISHED_SNAPSHOT, name);
        const snapshot = await writer.finish({ name, vmStateBytes: state.sizeBytes });
        this.last = { snapshot, prints };
        return snapshot;
      } catch (error) {
        await this.forget();
        throw error;
      }
    };
  }

  /**
   * Reads and checks a state whole; nothing of the machine has changed.
   *
   * @returns undefined for a snapshot without VM state: there the disk alone goes back.
   * @throws ByreError SNAPSHOT_NOT_FOUND; STATE_INVALID; STATE_MISMATCH when it is another machine's.
   */
  async read(idOrName: string): Promise<ReadState | undefined> {
    const reader = await this.stateDisk().openState(idOrName);
    if (reader.sizeBytes === 0) return undefined;
    const header = await readHeader(reader);
    this.checkFits(header, reader.snapshot.name);
    const pieces = await readStored(reader, header.memory);
    const device = new Uint8Array(header.device.lengthBytes);
    await readAll(reader, header.device.offsetBytes, device);
    const prints = new ClusterFingerprints();
    for (const { offsetBytes, bytes } of [...pieces, { offsetBytes: deviceAt(header), bytes: device }])
      prints.addAll(header.memory.offsetBytes + offsetBytes, bytes, reader.clusterSizeBytes);
    return { snapshot: reader.snapshot, header, pieces, device, prints };
  }

  /** Puts all disks back; and with a state that was read, the machine. It must stand still. */
  async apply(idOrName: string, state: ReadState | undefined): Promise<void> {
    const { name } = this.find(idOrName);
    for (const other of this.others()) await other.applySnapshot(name);
    const disk = this.stateDisk();
    await disk.applySnapshot(idOrName);
    if (!state) return;
    await disk.dropVmState(state.snapshot.vmStateBytes);
    const memory = guestMemory(this.emulator);
    memory.fill(0);
    for (const { offsetBytes, bytes } of state.pieces) memory.set(bytes, offsetBytes);
    await restoreDevices(this.emulator, state.device);
    this.last = { snapshot: state.snapshot, prints: state.prints };
  }

  async delete(idOrName: string): Promise<void> {
    const { name, id } = this.find(idOrName);
    await this.stateDisk().deleteSnapshot(id);
    for (const other of this.others())
      if (other.snapshots.some((snapshot) => snapshot.name === name)) await other.deleteSnapshot(name);
  }

  async describe(idOrName: string): Promise<SnapshotDescription> {
    const { id, name, dateSeconds, dateNanoseconds, vmStateBytes } = this.find(idOrName);
    const header = vmStateBytes === 0 ? undefined : await readStateHeader(this.stateDisk(), id);
    return {
      id,
      name,
      savedAtMs: dateSeconds * 1000 + Math.floor(dateNanoseconds / 1_000_000),
      description: "",
      hasState: vmStateBytes > 0,
      ...(header && { configuration: header.configuration }),
      ownBytes: 0,
      sharedBytes: 0,
    };
  }

  async edit(idOrName: string, { name }: SnapshotChange): Promise<void> {
    const { id } = this.find(idOrName);
    if (name !== undefined) await this.stateDisk().renameSnapshot(id, name);
  }

  private async write(
    disk: Qcow2Device,
    writer: Awaited<ReturnType<Qcow2Device["beginState"]>>,
    state: CapturedState,
    onProgress: SaveProgress,
  ): Promise<ClusterFingerprints> {
    const prints = new ClusterFingerprints();
    const parent = this.parent();
    for (const [done, { index, bytes }] of state.clusters.entries()) {
      const print = fingerprint(bytes);
      prints.set(index, print);
      const shared =
        parent?.prints.has(index, print) === true && (await writer.share(index, parent.snapshot));
      if (!shared) {
        const packed = disk.image.cipher ? undefined : disk.image.codec.compress(bytes, COMPRESSION_LEVEL);
        const pays = packed !== undefined && packed.length < bytes.length * (1 - LEAST_SAVING);
        if (pays) await writer.writePacked(index, packed);
        else await writer.writeCluster(index, bytes);
      }
      onProgress((done + 1) / state.clusters.length);
      await nextTurn();
    }
    return prints;
  }

  /** The state to share from, when it is still there. */
  private parent(): { snapshot: Qcow2Snapshot; prints: ClusterFingerprints } | undefined {
    const { last } = this;
    const there = this.stateDisk().snapshots.find(
      ({ id, l1OffsetBytes }) => id === last?.snapshot.id && l1OffsetBytes === last.snapshot.l1OffsetBytes,
    );
    return last && there && { ...last, snapshot: there };
  }

  private async forget(): Promise<void> {
    for (const disk of this.disks) await disk.dropUnfinishedStates();
  }

  private find(idOrName: string): Qcow2Snapshot {
    const found =
      this.list().find(({ id }) => id === idOrName) ?? this.list().find(({ name }) => name === idOrName);
    if (found) return found;
    throw new ByreError("SNAPSHOT_NOT_FOUND", `This machine has no saved state "${idOrName}".`, {
      snapshot: idOrName,
    });
  }

  private others(): readonly Qcow2Device[] {
    return this.disks.slice(1);
  }

  private stateDisk(): Qcow2Device {
    const [disk] = this.disks;
    if (disk) return disk;
    throw new ByreError(
      "UNSUPPORTED_FEATURE",
      "This machine has no qcow2 disk that can be written, so there is nowhere to save it to.",
    );
  }

  private checkFits({ emulator, configuration }: StateHeader, name: string): void {
    const mismatch = (what: string, theirs: string | number | boolean, ours: string | number | boolean) =>
      new ByreError(
        "STATE_MISMATCH",
        `The saved state "${name}" has ${what} ${theirs}, this machine ${ours}. Start a machine with the state's own ` +
          "configuration, or start from its disk.",
        { snapshot: name },
      );
    if (emulator !== EMULATOR_VERSION) throw mismatch("the emulator", emulator, EMULATOR_VERSION);
    const ours = this.configuration;
    for (const key of ["memoryMiB", "vgaMemoryMiB", "acpi"] as const)
      if (configuration[key] !== ours[key]) throw mismatch(key, configuration[key], ours[key]);
  }
}

/** A state in memory, to be put into a machine. */
export interface ReadState {
  readonly snapshot: Qcow2Snapshot;
  readonly header: StateHeader;
  /** Parts of the guest's memory that are not zeros. Offsets in the memory. */
  readonly pieces: readonly { offsetBytes: number; bytes: Uint8Array }[];
  readonly device: Uint8Array<ArrayBuffer>;
  readonly prints: ClusterFingerprints;
}

/** Where the devices' state is, counted from the memory on. */
function deviceAt({ memory, device }: StateHeader): number {
  return device.offsetBytes - memory.offsetBytes;
}

/** Reads what is stored of an extent; what is not is zeros. */
async function readStored(
  reader: StateReader,
  extent: StateHeader["memory"],
): Promise<{ offsetBytes: number; bytes: Uint8Array }[]> {
  const pieces: { offsetBytes: number; bytes: Uint8Array }[] = [];
  for (let at = 0; at < extent.lengthBytes; ) {
    const most = Math.min(READ_BYTES, extent.lengthBytes - at);
    const { stored, lengthBytes } = await reader.run(extent.offsetBytes + at, most);
    if (stored) {
      const bytes = new Uint8Array(lengthBytes);
      await reader.read(extent.offsetBytes + at, bytes);
      pieces.push({ offsetBytes: at, bytes });
    }
    at += lengthBytes;
  }
  return pieces;
}

async function readAll(reader: StateReader, offsetBytes: number, target: Uint8Array): Promise<void> {
  for (let done = 0; done < target.length; done += READ_BYTES)
    await reader.read(offsetBytes + done, target.subarray(done, done + READ_BYTES));
}

function isWritableQcow2(device: BlockDevice | undefined): device is Qcow2Device {
  return device?.writable === true && "beginState" in device;
}

/** Lets everything else that waits have its turn: the guest, and the page. */
function nextTurn(): Promise<void> {
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(undefined);
  });
}
