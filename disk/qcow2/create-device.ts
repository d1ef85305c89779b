import type { BlockDevice, BlockStatus, WriteZeroesOptions } from "../block-device.ts";
import { ByreError } from "../errors.ts";
import { checkRange } from "../ranges.ts";
import { type AmendOptions, amend } from "./amend.ts";
import { assembleCore, type Qcow2Core } from "./core.ts";
import { prepareForChanges } from "./first-change.ts";
import { IncompatibleFeature } from "./format.ts";
import type { Qcow2Header } from "./header.ts";
import { hasIncompatible } from "./header.ts";
import { changeHeader, type HeaderChange } from "./header-edit.ts";
import type { Qcow2Image } from "./image.ts";
import { describeImage, type Qcow2Info } from "./info.ts";
import { type Need, untilReady } from "./needs.ts";
import type { Qcow2Device } from "./qcow2-device.ts";
import { type ResizeOptions, resize, truncateFile } from "./resize.ts";
import { type BeginStateOptions, beginState, dropUnfinished, editState } from "./saved-state.ts";
import { snapshotTree } from "./snapshot-change.ts";
import type { Qcow2Snapshot } from "./snapshot-table.ts";
import { type SnapshotUsage, snapshotUsage } from "./snapshot-usage.ts";
import {
  type ApplySnapshotOptions,
  applySnapshot,
  type CreateSnapshotOptions,
  changeSnapshot,
  createSnapshot,
  deleteSnapshots,
  findSnapshot,
  makeEmpty,
} from "./snapshots.ts";
import { openState, type StateReader } from "./state-reader.ts";
import type { StateWriter } from "./state-writer.ts";
import { dropVmState, readVmState, writeVmState } from "./vm-state.ts";

/** What a device is made over. */
export interface Qcow2DeviceOptions {
  readonly backing: BlockDevice | undefined;
  readonly writable: boolean;
  readonly onWarning: (message: string) => void;
  /** Closes what is below. Default: the backing device, then the file. */
  readonly closeBelow?: () => Promise<void>;
}

/** The device over an image whose tables are open. Takes ownership of the file and the backing. */
export function createQcow2Device(image: Qcow2Image, options: Qcow2DeviceOptions): Qcow2Device {
  return new Device(image, options);
}

class Device implements Qcow2Device {
  readonly backing: BlockDevice | undefined;
  readonly writable: boolean;
  private readonly closeBelow: () => Promise<void>;
  private readonly core: Qcow2Core;
  private flushing: Promise<void> = Promise.resolve();
  private turns: Promise<void> = Promise.resolve();
  /** Why nothing more is done: the image's structures were found damaged while it was open for writing. */
  private broken: ByreError | undefined;
  private closed = false;

  constructor(
    readonly image: Qcow2Image,
    options: Qcow2DeviceOptions,
  ) {
    this.backing = options.backing;
    this.writable = options.writable;
    this.closeBelow = options.closeBelow ?? (() => this.closeFileAndBacking());
    this.core = assembleCore(
      image,
      options.backing,
      () => prepareForChanges(image, options.onWarning),
      () => this.flush(),
    );
  }

  get name(): string {
    return this.image.file.name;
  }

  get header(): Qcow2Header {
    return this.image.header;
  }

  get info(): Qcow2Info {
    return describeImage(this.image.header);
  }

  get snapshots(): readonly Qcow2Snapshot[] {
    return this.image.snapshots;
  }

  get sizeBytes(): number {
    return this.image.header.sizeBytes;
  }

  get dirtyBytes(): number {
    return this.image.file.dirtyBytes;
  }

  readNow(offsetBytes: number, target: Uint8Array): boolean {
    this.checkRequest(offsetBytes, target.length);
    return this.guardNow(() => this.core.reader.tryRead(offsetBytes, target, []) === true);
  }

  read(offsetBytes: number, target: Uint8Array): Promise<void> {
    return this.inRuns(offsetBytes, target.length, false, (done, needs) =>
      this.core.reader.tryReadRun(offsetBytes + done, target.subarray(done), needs),
    );
  }

  writeNow(offsetBytes: number, data: Uint8Array): boolean {
    this.checkWrite(offsetBytes, data.length);
    return this.guardNow(() => {
      for (let done = 0; done < data.length; ) {
        const written = this.core.writer.tryWriteRun(offsetBytes + done, data.subarray(done), []);
        if (written === undefined) return false;
        done += written;
      }
      return true;
    });
  }

  write(offsetBytes: number, data: Uint8Array): Promise<void> {
    return this.inRuns(offsetBytes, data.length, true, (done, needs) =>
      this.core.writer.tryWriteRun(offsetBytes + done, data.subarray(done), needs),
    );
  }

  async writeZeroes(
    offsetBytes: number,
    lengthBytes: number,
    options: WriteZeroesOptions = {},
  ): Promise<void> {
    await this.inRuns(offsetBytes, lengthBytes, true, (done, needs) =>
      this.core.zeros.tryZeroRun(offsetBytes + done, lengthBytes - done, options.unmap ?? false, needs),
    );
  }

  async discard(offsetBytes: number, lengthBytes: number): Promise<void> {
    this.checkWrite(offsetBytes, lengthBytes);
    // Without zero clusters, letting go would show what is behind.
    if (!this.image.hasZeroClusters && this.backing) return;
    const { clusterSizeBytes } = this.image;
    const start = Math.ceil(offsetBytes / clusterSizeBytes) * clusterSizeBytes;
    const end = offsetBytes + lengthBytes;
    const wholeEnd = end === this.sizeBytes ? end : end - (end % clusterSizeBytes);
    if (wholeEnd <= start) return;
    await this.inRuns(start, wholeEnd - start, true, (done, needs) =>
      this.core.zeros.tryDiscardRun(start + done, wholeEnd - start - done, false, needs),
    );
  }

  async blockStatus(offsetBytes: number, lengthBytes: number): Promise<BlockStatus> {
    this.checkRequest(offsetBytes, lengthBytes);
    return this.guard(() =>
      untilReady((needs) => this.core.reader.tryStatus(offsetBytes, lengthBytes, needs)),
    );
  }

  async writeCompressed(offsetBytes: number, cluster: Uint8Array, level?: number): Promise<void> {
    this.checkCompressed(offsetBytes, cluster.length);
    const packed = this.image.codec.compress(cluster, level);
    if (packed) await this.writePacked(offsetBytes, packed);
    else await this.write(offsetBytes, cluster.subarray(0, this.sizeBytes - offsetBytes));
  }

  async writePacked(offsetBytes: number, packed: Uint8Array): Promise<void> {
    this.checkCompressed(offsetBytes, this.image.clusterSizeBytes);
    await this.guard(() => untilReady((needs) => this.core.compressed.tryWrite(offsetBytes, packed, needs)));
  }

  createSnapshot(options: CreateSnapshotOptions): Promise<Qcow2Snapshot> {
    return this.inTurn(async () => {
      const snapshot = await createSnapshot(this.core, options);
      if (snapshot.vmStateBytes > 0) await dropVmState(this.core, snapshot.vmStateBytes);
      return snapshot;
    });
  }

  applySnapshot(idOrName: string, options?: ApplySnapshotOptions): Promise<void> {
    return this.inTurn(() => applySnapshot(this.core, idOrName, options));
  }

  deleteSnapshot(idOrName: string): Promise<void> {
    return this.deleteSnapshots([idOrName]);
  }

  deleteSnapshots(idsOrNames: readonly string[]): Promise<void> {
    return this.inTurn(() => deleteSnapshots(this.core, idsOrNames));
  }

  async snapshotUsage(idOrName: string): Promise<SnapshotUsage> {
    this.checkRequest(0, 0);
    return this.guard(() => snapshotUsage(this.image, findSnapshot(this.image, idOrName)));
  }

  async openSnapshot(idOrName: string, options: { owning?: boolean } = {}): Promise<Qcow2Device> {
    this.checkRequest(0, 0);
    const snapshot = findSnapshot(this.image, idOrName);
    const { l1 } = await snapshotTree(this.image, snapshot);
    const view = this.image.viewSnapshot(snapshot, new Uint8Array(l1.buffer));
    return createQcow2Device(view, {
      backing: this.backing,
      writable: false,
      onWarning: () => {},
      closeBelow: options.owning ? () => this.close() : async () => {},
    });
  }

  resize(sizeBytes: number, options: ResizeOptions = {}): Promise<void> {
    return this.inTurn(() => resize(this.core, sizeBytes, options));
  }

  changeHeader(change: HeaderChange): Promise<void> {
    return this.inTurn(() => changeHeader(this.core, change));
  }

  amend(options: AmendOptions, onProgress?: (fraction: number) => void): Promise<void> {
    return this.inTurn(async () => {
      await this.core.entries.prepareNow();
      await amend(this.core, options, onProgress);
    });
  }

  async readVmState(offsetBytes: number, target: Uint8Array): Promise<void> {
    this.checkRequest(0, 0);
    await this.guard(() => readVmState(this.core, offsetBytes, target));
  }

  writeVmState(offsetBytes: number, data: Uint8Array): Promise<void> {
    return this.inTurn(() => writeVmState(this.core, offsetBytes, data));
  }

  renameSnapshot(idOrName: string, name: string): Promise<Qcow2Snapshot> {
    return this.inTurn(() => changeSnapshot(this.core, idOrName, { name }));
  }

  beginState(options: BeginStateOptions): Promise<StateWriter> {
    return this.inTurn(() => beginState(this.core, options, (work) => this.inTurn(work)));
  }

  editState(idOrName: string): Promise<StateWriter> {
    return this.inTurn(() => editState(this.core, idOrName, (work) => this.inTurn(work)));
  }

  async openState(idOrName: string): Promise<StateReader> {
    this.checkRequest(0, 0);
    return this.guard(() => openState(this.core, idOrName));
  }

  dropUnfinishedStates(): Promise<void> {
    return this.inTurn(() => dropUnfinished(this.core));
  }

  dropVmState(vmStateBytes: number): Promise<void> {
    return this.inTurn(() => dropVmState(this.core, vmStateBytes));
  }

  makeEmpty(): Promise<void> {
    return this.inTurn(async () => {
      await makeEmpty(this.core);
      await truncateFile(this.core);
      await this.flush();
    });
  }

  async flush(): Promise<void> {
    this.checkOpen();
    if (!this.writable) return;
    // One after the other: a flush that follows must not overtake the clusters that this one lets go.
    const turn = this.flushing.then(
      () => this.flushOnce(),
      () => this.flushOnce(),
    );
    this.flushing = turn;
    await turn;
  }

  async close(): Promise<void> {
    if (this.closed) return;
    try {
      if (!this.broken) await this.flush();
    } finally {
      this.closed = true;
      await this.closeBelow();
    }
  }

  private async closeFileAndBacking(): Promise<void> {
    try {
      await this.backing?.close();
    } finally {
      await this.image.file.close();
    }
  }

  private async flushOnce(): Promise<void> {
    const { allocator } = this.core;
    // Clusters are let go on disk only after the tables that let go of them are there.
    const frees = allocator.takePendingFrees();
    try {
      await this.image.file.flush();
    } catch (error) {
      allocator.putBackPendingFrees(frees);
      throw error;
    }
    if (frees.size > 0) {
      await untilReady((needs) => allocator.tryFree(frees, needs));
      await this.image.file.flush();
    }
    const { unfinished, entries } = this.core;
    while (unfinished[0]) {
      const release = entries.hold();
      try {
        // Each is made at once or not at all; when its flush fails, the next one writes it.
        await unfinished[0]();
        unfinished.shift();
        await this.image.file.flush();
      } finally {
        release();
      }
    }
  }

  /** Works through a range by attempts, each of which says how far it came. */
  private async inRuns(
    offsetBytes: number,
    lengthBytes: number,
    changes: boolean,
    attempt: (doneBytes: number, needs: Need[]) => number | undefined,
  ): Promise<void> {
    if (changes) this.checkWrite(offsetBytes, lengthBytes);
    else this.checkRequest(offsetBytes, lengthBytes);
    await this.guard(async () => {
      for (let done = 0; done < lengthBytes; ) done += await untilReady((needs) => attempt(done, needs));
    });
  }

  /** Changes of the image as a whole, one after the other. */
  private async inTurn<Result>(work: () => Promise<Result>): Promise<Result> {
    this.checkWrite(0, 0);
    const turn = this.turns.then(() => this.guard(work));
    this.turns = turn.then(
      () => {},
      () => {},
    );
    return turn;
  }

  private guardNow<Result>(work: () => Result): Result {
    try {
      return work();
    } catch (error) {
      this.noteDamage(error);
      throw error;
    }
  }

  private async guard<Result>(work: () => Promise<Result>): Promise<Result> {
    try {
      return await work();
    } catch (error) {
      this.noteDamage(error);
      throw error;
    }
  }

  /**
   * Damaged structures in an image that is written: writing on would make it worse, so the image is marked
   * corrupt, which every program heeds, and nothing more is done with it.
   */
  private noteDamage(error: unknown): void {
    if (!(error instanceof ByreError) || !this.writable || this.broken) return;
    const { image } = this;
    if (!image.isOwnDamage(error)) return;
    this.broken = error;
    if (!image.hasZeroClusters || hasIncompatible(image.header, IncompatibleFeature.CORRUPT)) return;
    const bit = 1n << BigInt(IncompatibleFeature.CORRUPT);
    if (!image.file.canWriteNow(0, image.clusterSizeBytes)) return;
    image.setIncompatibleFeatures(image.header.incompatibleFeatures | bit);
    // The caller hears of the damage itself; that the mark could not be written adds nothing to it.
    image.file.flush().catch(() => {});
  }

  private checkOpen(): void {
    if (this.closed) throw new ByreError("CLOSED", `${this.name} is closed.`, { file: this.name });
  }

  private checkRequest(offsetBytes: number, lengthBytes: number): void {
    this.checkOpen();
    if (this.broken) throw this.broken;
    checkRange(this.name, this.sizeBytes, offsetBytes, lengthBytes);
  }

  private checkWrite(offsetBytes: number, lengthBytes: number): void {
    if (!this.writable)
      throw new ByreError("READ_ONLY", `${this.name} was opened read-only.`, { file: this.name });
    this.checkRequest(offsetBytes, lengthBytes);
  }

  private checkCompressed(offsetBytes: number, lengthBytes: number): void {
    const { clusterSizeBytes, cipher } = this.image;
    this.checkWrite(offsetBytes, Math.min(lengthBytes, this.sizeBytes - offsetBytes));
    if (cipher)
      throw new ByreError("INVALID_ARGUMENT", `${this.name} is encrypted: its clusters are not compressed.`, {
        file: this.name,
      });
    if (offsetBytes % clusterSizeBytes === 0 && lengthBytes === clusterSizeBytes) return;
    throw new ByreError(
      "INVALID_ARGUMENT",
      `${this.name}: a compressed write is one whole cluster of ${clusterSizeBytes} bytes at its start, ` +
        `not ${lengthBytes} bytes at ${offsetBytes}.`,
      { file: this.name, offsetBytes, lengthBytes },
    );
  }
}
