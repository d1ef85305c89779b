import { ByreError } from "../errors.ts";
import type { Allocator } from "./allocator.ts";
import { CompressedWriter } from "./compressed-writer.ts";
import type { Qcow2Core } from "./core.ts";
import { EntryEditor } from "./entry-editor.ts";
import type { Qcow2Image } from "./image.ts";
import { encodeCompressedEntry, type L2Entry } from "./l2-entry.ts";
import { entryAt, findEntry, findL1, setEntryHalves, setPlainEntry } from "./mapping.ts";
import { type Need, untilReady } from "./needs.ts";
import { Reader } from "./reader.ts";
import type { Qcow2Snapshot } from "./snapshot-table.ts";
import { changeSnapshot, createSnapshot, deleteSnapshot, findSnapshot, snapshotTree } from "./snapshots.ts";
import { vmStateOffset } from "./vm-state.ts";
import { Writer } from "./writer.ts";
import { ZeroWriter } from "./zero-writer.ts";

/**
 * What a snapshot is called while its VM state is being written. One that is still called so when an image is
 * opened was left by a crash: nobody is to load it, and the next save drops it.
 */
export const UNFINISHED_SNAPSHOT = "(unfinished save)";

export interface BeginStateOptions {
  /** Room to keep for the state in the snapshot's L1 table, in bytes: the state may not be longer. */
  maxStateBytes: number;
}

/** What a finished snapshot is called, and when it was. */
export interface FinishStateOptions {
  name: string;
  /** Length of the state in bytes. */
  vmStateBytes: number;
  vmClockNanoseconds?: bigint;
}

/**
 * A snapshot whose disk is kept already and whose VM state is being written, cluster by cluster and in any
 * order, while the guest goes on. Clusters that are not written read as zeros.
 */
export interface StateWriter {
  readonly clusterSizeBytes: number;
  /** Writes one cluster of the state. */
  writeCluster(clusterIndex: number, plain: Uint8Array): Promise<void>;
  /** Writes one cluster that has been packed in the image's compression type. */
  writePacked(clusterIndex: number, packed: Uint8Array): Promise<void>;
  /** Says that clusters read as zeros. */
  writeZeros(clusterIndex: number, count: number): Promise<void>;
  /**
   * Takes a cluster from another snapshot's state: the two share it.
   *
   * @returns false when it cannot be shared once more, or is not stored there; write it then.
   */
  share(clusterIndex: number, from: Qcow2Snapshot): Promise<boolean>;
  /** Gives the snapshot its name and its state: from now on it can be loaded. Durable when it resolves. */
  finish(options: FinishStateOptions): Promise<Qcow2Snapshot>;
  /** Drops the snapshot and all that was written for it. */
  cancel(): Promise<void>;
}

/** Keeps the disk as it is now in a snapshot, and opens its VM state for writing. */
export async function beginState(core: Qcow2Core, options: BeginStateOptions): Promise<StateWriter> {
  const { image } = core;
  const endBytes = vmStateOffset(image) + options.maxStateBytes;
  const l1Entries = Math.max(image.l1Entries, Math.ceil(endBytes / image.l2ReachBytes));
  const snapshot = await createSnapshot(core, { name: UNFINISHED_SNAPSHOT, l1Entries });
  const { l1 } = await snapshotTree(image, snapshot);
  return new SnapshotState(core, snapshot, image.viewSnapshot(snapshot, new Uint8Array(l1.buffer)));
}

class SnapshotState implements StateWriter {
  readonly clusterSizeBytes: number;
  private readonly startBytes: number;
  private readonly entries: EntryEditor;
  private readonly writer: Writer;
  private readonly compressed: CompressedWriter;
  private readonly zeros: ZeroWriter;
  private readonly allocator: Allocator;
  /** Other snapshots, to share from. */
  private readonly parents = new Map<string, Qcow2Image>();
  private over = false;

  constructor(
    private readonly core: Qcow2Core,
    private readonly snapshot: Qcow2Snapshot,
    /** The image as the snapshot has it: what is written goes into its tables. */
    private readonly view: Qcow2Image,
  ) {
    this.clusterSizeBytes = view.clusterSizeBytes;
    this.startBytes = vmStateOffset(view);
    this.allocator = core.allocator;
    const reader = new Reader(view, undefined);
    this.entries = new EntryEditor(view, reader, core.allocator, () => core.entries.prepareNow());
    this.writer = new Writer(view, reader, core.allocator, this.entries);
    this.compressed = new CompressedWriter(view, core.allocator, this.entries);
    this.zeros = new ZeroWriter(view, reader, this.writer, core.allocator, this.entries);
  }

  async writeCluster(clusterIndex: number, plain: Uint8Array): Promise<void> {
    const at = this.placeOf(clusterIndex, 1);
    for (let done = 0; done < plain.length; )
      done += await this.attempt((needs) => this.writer.tryWriteRun(at + done, plain.subarray(done), needs));
  }

  async writePacked(clusterIndex: number, packed: Uint8Array): Promise<void> {
    const at = this.placeOf(clusterIndex, 1);
    await this.attempt((needs) => this.compressed.tryWrite(at, packed, needs));
  }

  async writeZeros(clusterIndex: number, count: number): Promise<void> {
    const start = this.placeOf(clusterIndex, count);
    const end = start + count * this.clusterSizeBytes;
    // Version 2 has no zero entries; what is not written there has nothing behind it that we would show.
    if (!this.view.hasZeroClusters) return;
    for (let at = start; at < end; )
      at += await this.attempt((needs) => this.zeros.tryZeroRun(at, end - at, true, needs));
  }

  async share(clusterIndex: number, from: Qcow2Snapshot): Promise<boolean> {
    const at = this.placeOf(clusterIndex, 1);
    const parent = await this.parent(from);
    const from0 = vmStateOffset(parent) + clusterIndex * this.clusterSizeBytes;
    return this.attempt((needs) => this.tryShare(at, parent, from0, needs));
  }

  async finish(options: FinishStateOptions): Promise<Qcow2Snapshot> {
    this.checkGoing();
    // The state must be in the file before the table says that it is there.
    await this.core.flush();
    const finished = await changeSnapshot(this.core, this.snapshot.id, options);
    this.over = true;
    return finished;
  }

  async cancel(): Promise<void> {
    if (this.over) return;
    this.over = true;
    await deleteSnapshot(this.core, this.snapshot.id);
  }

  /** One reference more for what the parent's entry refers to, and the same entry here. */
  private tryShare(
    atBytes: number,
    parent: Qcow2Image,
    fromBytes: number,
    needs: Need[],
  ): boolean | undefined {
    const { l2OffsetBytes } = findL1(parent, fromBytes);
    if (l2OffsetBytes === 0) return false;
    const theirs = findEntry(parent, l2OffsetBytes, fromBytes, needs);
    if (!theirs) return undefined;
    const entry = entryAt(parent, theirs.slice, theirs.index);
    if (entry.kind === "plain" && entry.hostOffsetBytes === 0) return false;
    const place = this.entries.find(atBytes, needs);
    if (!place) return undefined;
    const clusters = this.entries.clustersOf(entry);
    for (const index of clusters) {
      const fits = this.allocator.canShare(index, needs);
      if (fits === undefined) return undefined;
      if (!fits) return false;
    }
    const before = entryAt(this.view, place.slice, place.index);
    const changes = this.entries.countChanges(clusters, [before]);
    this.allocator.check(changes, needs);
    this.entries.check(place, 1, needs);
    if (needs.length > 0) return undefined;
    this.setShared(place, entry);
    this.entries.write(place, 1);
    this.allocator.apply(changes);
    return true;
  }

  private setShared(place: Parameters<typeof setPlainEntry>[1], entry: L2Entry): void {
    if (entry.kind === "plain") setPlainEntry(this.view, place, 0, { ...entry, copied: false });
    else {
      const { hostOffsetBytes, lengthBytes } = entry;
      const { hi, lo } = encodeCompressedEntry(hostOffsetBytes, lengthBytes, this.view.clusterBits);
      setEntryHalves(this.view, place, 0, hi, lo);
    }
  }

  private async parent(from: Qcow2Snapshot): Promise<Qcow2Image> {
    const known = this.parents.get(from.id);
    if (known) return known;
    const { l1 } = await snapshotTree(this.core.image, from);
    const view = this.core.image.viewSnapshot(from, new Uint8Array(l1.buffer));
    this.parents.set(from.id, view);
    return view;
  }

  private async attempt<Result>(work: (needs: Need[]) => Result | undefined): Promise<Result> {
    return untilReady((needs) => {
      this.checkGoing();
      // A change of the whole image holds everything that counts clusters.
      if (!this.core.entries.mayChange(needs)) return undefined;
      return work(needs);
    });
  }

  /** Where a cluster of the state stands, as a guest offset. */
  private placeOf(clusterIndex: number, count: number): number {
    const at = this.startBytes + clusterIndex * this.clusterSizeBytes;
    if (
      clusterIndex >= 0 &&
      at + count * this.clusterSizeBytes <= this.view.l1Entries * this.view.l2ReachBytes
    )
      return at;
    throw new ByreError(
      "OUT_OF_RANGE",
      `${this.view.file.name}: clusters ${clusterIndex} to ${clusterIndex + count} of the VM state are past the room kept ` +
        "for it when it was begun.",
      { file: this.view.file.name, clusterIndex, count },
    );
  }

  private checkGoing(): void {
    if (!this.over) return;
    throw new ByreError("CLOSED", `${this.view.file.name}: this save is over.`, {
      file: this.view.file.name,
    });
  }
}

/** Drops what a crash left of saves that were not finished. */
export async function dropUnfinished(core: Qcow2Core): Promise<void> {
  for (const { name, id } of [...core.image.snapshots])
    if (name === UNFINISHED_SNAPSHOT) await deleteSnapshot(core, id);
}

/** The reader of a snapshot's VM state. */
export async function openState(core: Qcow2Core, idOrName: string): Promise<StateReader> {
  const snapshot = findSnapshot(core.image, idOrName);
  const { l1 } = await snapshotTree(core.image, snapshot);
  const view = core.image.viewSnapshot(snapshot, new Uint8Array(l1.buffer));
  return new StateReader(snapshot, view);
}

/** VM state of a snapshot, to read. */
export class StateReader {
  private readonly reader: Reader;
  private readonly startBytes: number;

  constructor(
    readonly snapshot: Qcow2Snapshot,
    private readonly view: Qcow2Image,
  ) {
    this.reader = new Reader(view, undefined);
    this.startBytes = vmStateOffset(view);
  }

  get sizeBytes(): number {
    return this.snapshot.vmStateBytes;
  }

  get clusterSizeBytes(): number {
    return this.view.clusterSizeBytes;
  }

  /** Fills `target` with the state's bytes from an offset on. */
  async read(offsetBytes: number, target: Uint8Array): Promise<void> {
    const start = this.startBytes + offsetBytes;
    for (let done = 0; done < target.length; )
      done += await untilReady((needs) => this.reader.tryReadRun(start + done, target.subarray(done), needs));
  }

  /**
   * How far from an offset on the state is zeros without being stored, or is stored.
   *
   * @returns the kind and a length in bytes of at most `maxBytes`.
   */
  async run(offsetBytes: number, maxBytes: number): Promise<{ stored: boolean; lengthBytes: number }> {
    const found = await untilReady((needs) =>
      this.reader.tryFindRun(this.startBytes + offsetBytes, maxBytes, needs),
    );
    return { stored: found.kind === "data" || found.kind === "compressed", lengthBytes: found.lengthBytes };
  }
}
