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
import { snapshotTree } from "./snapshot-change.ts";
import type { Qcow2Snapshot } from "./snapshot-table.ts";
import { ownStateClusters } from "./snapshot-usage.ts";
import { deleteSnapshots, findSnapshot } from "./snapshots.ts";
import { hasSnapshot } from "./state-reader.ts";
import { vmStateOffset } from "./vm-state.ts";
import { Writer } from "./writer.ts";
import { ZeroWriter } from "./zero-writer.ts";

/** What a finished snapshot is called, and when it was. What is left out stays as it is. */
export interface FinishStateOptions {
  name: string;
  /** Length of the state in bytes. */
  vmStateBytes: number;
  vmClockNanoseconds?: bigint;
  /** Since 1970. */
  dateSeconds?: number;
  dateNanoseconds?: number;
  /** Ids of snapshots that this one takes the place of: they go in the same change that names it. */
  replaces?: readonly string[];
}

/**
 * A snapshot whose disk is kept already and whose VM state is being written, cluster by cluster and in any
 * order, while the guest goes on. Clusters that are not written read as zeros.
 */
export interface StateWriter {
  readonly clusterSizeBytes: number;
  /** Finished, or cancelled. On a plain file also when a `finish` failed that is made, and waits to be durable. */
  readonly isOver: boolean;
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
  /**
   * Gives the snapshot its name and its state: from now on it can be loaded. Durable when it resolves. When it
   * fails, cancel; a plain file, which keeps what it could not write, may have the finished one all the same.
   */
  finish(options: FinishStateOptions): Promise<Qcow2Snapshot>;
  /** Drops the snapshot and all that was written for it. Once it is finished, it stays. */
  cancel(): Promise<void>;
}

/** Runs a change of the image as a whole once no other is under way. */
export type InTurn = <Result>(work: () => Promise<Result>) => Promise<Result>;

export class SnapshotState implements StateWriter {
  readonly clusterSizeBytes: number;
  private readonly startBytes: number;
  private readonly entries: EntryEditor;
  private readonly writer: Writer;
  private readonly compressed: CompressedWriter;
  private readonly zeros: ZeroWriter;
  private readonly allocator: Allocator;
  /** Other snapshots, to share from. */
  private readonly parents = new Map<string, Qcow2Image>();
  private cancelled = false;
  isOver = false;

  constructor(
    private readonly core: Qcow2Core,
    private readonly snapshot: Qcow2Snapshot,
    /** The image as the snapshot has it: what is written goes into its tables. */
    private readonly view: Qcow2Image,
    private readonly inTurn: InTurn,
    /** Puts the finished snapshot into the table. */
    private readonly putInTable: (options: FinishStateOptions) => Promise<Qcow2Snapshot>,
  ) {
    this.clusterSizeBytes = view.clusterSizeBytes;
    this.startBytes = vmStateOffset(view);
    this.allocator = core.allocator;
    const reader = new Reader(view, undefined);
    this.entries = new EntryEditor(view, reader, core.allocator, () => core.entries.prepareNow());
    this.writer = new Writer(view, reader, core.allocator, this.entries);
    this.compressed = new CompressedWriter(view, core.allocator, this.entries);
    this.zeros = new ZeroWriter(view, reader, this.writer, core.allocator, this.entries);
    core.packers.add(this.compressed);
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
    return this.attempt((needs) =>
      // What a deleted snapshot's tables say may be some other's by now.
      hasSnapshot(this.core.image, from) ? this.tryShare(at, parent, from0, needs) : false,
    );
  }

  finish(options: FinishStateOptions): Promise<Qcow2Snapshot> {
    return this.inTurn(async () => {
      this.checkGoing();
      // The state must be in the file before the table says that it is there.
      await this.core.flush();
      try {
        return await this.putInTable(options);
      } finally {
        // What it takes the place of is gone by then: a cancel must not drop it as well.
        if (!this.isUnfinished()) this.end();
      }
    });
  }

  async cancel(): Promise<void> {
    // Nothing more is written from now on; a finish that is under way comes first, and may succeed.
    this.cancelled = true;
    await this.inTurn(async () => {
      if (this.isOver) return;
      this.end();
      if (!hasSnapshot(this.core.image, this.snapshot)) return;
      await this.forgetWritten();
      await deleteSnapshots(this.core, [this.snapshot.id]);
    });
  }

  /**
   * What only this save has written of its state need not reach the storage any more: when that is full, it
   * would stand in the way of everything else.
   */
  private async forgetWritten(): Promise<void> {
    const { view, core } = this;
    const { file, clusterSizeBytes } = core.image;
    for (const index of await ownStateClusters(core.image, view))
      file.forget(index * clusterSizeBytes, clusterSizeBytes);
  }

  /** Whether the table still has it under the name that it was begun with. */
  private isUnfinished(): boolean {
    const { image } = this.core;
    const { id, name } = this.snapshot;
    return hasSnapshot(image, this.snapshot) && findSnapshot(image, id).name === name;
  }

  private end(): void {
    this.isOver = true;
    this.core.packers.delete(this.compressed);
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
    const changes = new Map<number, number>();
    const change = (index: number, by: number) => changes.set(index, (changes.get(index) ?? 0) + by);
    for (const index of clusters) change(index, 1);
    // It may refer to the same cluster already: packed data of both, or shared before.
    for (const index of this.entries.clustersOf(before)) change(index, -1);
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
    if (!this.isOver && !this.cancelled && hasSnapshot(this.core.image, this.snapshot)) return;
    throw new ByreError("CLOSED", `${this.view.file.name}: this save is over.`, {
      file: this.view.file.name,
    });
  }
}
