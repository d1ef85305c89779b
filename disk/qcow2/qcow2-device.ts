import type { BlockDevice } from "../block-device.ts";
import type { AmendOptions } from "./amend.ts";
import type { Qcow2Header } from "./header.ts";
import type { HeaderChange } from "./header-edit.ts";
import type { Qcow2Image } from "./image.ts";
import type { Qcow2Info } from "./info.ts";
import type { ResizeOptions } from "./resize.ts";
import type { BeginStateOptions } from "./saved-state.ts";
import type { Qcow2Snapshot } from "./snapshot-table.ts";
import type { SnapshotUsage } from "./snapshot-usage.ts";
import type { ApplySnapshotOptions, CreateSnapshotOptions } from "./snapshots.ts";
import type { StateReader } from "./state-reader.ts";
import type { StateWriter } from "./state-writer.ts";

/** A qcow2 image as a device, with what only this format can do. */
export interface Qcow2Device extends BlockDevice {
  /** What the header says. */
  readonly info: Qcow2Info;
  readonly header: Qcow2Header;
  /** The open image and its tables, to look at. */
  readonly image: Qcow2Image;
  /** The device that unallocated clusters read from, opened by this one. */
  readonly backing: BlockDevice | undefined;
  /** The internal snapshots, oldest first. */
  readonly snapshots: readonly Qcow2Snapshot[];

  /**
   * Writes one whole cluster as a compressed one, or plain when that is not smaller. For making images: a
   * compressed cluster is unpacked again by the first write to it.
   *
   * @param offsetBytes a cluster's start.
   * @param cluster exactly one cluster; at the disk's end, padded with zeros.
   * @param level zlib 1 to 9, zstd 1 to 22: from fast to small.
   * @throws ByreError INVALID_ARGUMENT (also for an encrypted image), and as `write`.
   */
  writeCompressed(offsetBytes: number, cluster: Uint8Array, level?: number): Promise<void>;

  /**
   * `writeCompressed` for a cluster that has been packed already, elsewhere.
   *
   * @param packed in the image's compression type, and shorter than a cluster.
   */
  writePacked(offsetBytes: number, packed: Uint8Array): Promise<void>;

  /**
   * Keeps the disk as it is now under a name.
   *
   * @throws ByreError UNSUPPORTED_FEATURE where refcounts are too narrow to share clusters; INVALID_ARGUMENT,
   *   TOO_LARGE; as `write`.
   */
  createSnapshot(options: CreateSnapshotOptions): Promise<Qcow2Snapshot>;

  /**
   * Puts the disk, and its size, back to what it was. What it is now is gone.
   *
   * @param idOrName an id goes before a name.
   * @throws ByreError SNAPSHOT_NOT_FOUND; UNSUPPORTED_FEATURE where version 2 cannot take the size; as `write`.
   */
  applySnapshot(idOrName: string, options?: ApplySnapshotOptions): Promise<void>;

  /** Drops a snapshot. Throws SNAPSHOT_NOT_FOUND, and as `write`. */
  deleteSnapshot(idOrName: string): Promise<void>;

  /** Drops several snapshots in one change: all, or none when one is not there. Throws as `deleteSnapshot`. */
  deleteSnapshots(idsOrNames: readonly string[]): Promise<void>;

  /**
   * How much of the file a snapshot takes, and how much of that is its own. Reads its tables, not its data.
   *
   * @throws ByreError SNAPSHOT_NOT_FOUND, CORRUPT.
   */
  snapshotUsage(idOrName: string): Promise<SnapshotUsage>;

  /**
   * The disk as a snapshot has it, to read. Close it before the snapshot is deleted.
   *
   * @param options owning: closing it closes this device too. Default: this device stays open.
   * @throws ByreError SNAPSHOT_NOT_FOUND, CORRUPT.
   */
  openSnapshot(idOrName: string, options?: { owning?: boolean }): Promise<Qcow2Device>;

  /**
   * Changes the virtual size. What is added reads as zeros.
   *
   * @param sizeBytes a multiple of 512.
   * @throws ByreError INVALID_ARGUMENT (also to shrink without `shrink`), TOO_LARGE, UNSUPPORTED_FEATURE (a
   *   version 2 image with snapshots, an image with bitmaps); as `write`.
   */
  resize(sizeBytes: number, options?: ResizeOptions): Promise<void>;

  /** Changes what the header says, and flushes. Throws INVALID_ARGUMENT, TOO_LARGE; as `write`. */
  changeHeader(change: HeaderChange): Promise<void>;

  /**
   * Changes what kind of image this is, in place.
   *
   * @param onProgress told how much is done, 0 to 1.
   * @throws ByreError INVALID_ARGUMENT for options that do not go together or do not fit what is there;
   *   UNSUPPORTED_FEATURE for what version 2 cannot hold; as `resize`, as `write`.
   */
  amend(options: AmendOptions, onProgress?: (fraction: number) => void): Promise<void>;

  /**
   * Reads VM state of the disk as it is: what `writeVmState` wrote, or what applying a snapshot brought back.
   *
   * @param offsetBytes from the state's beginning.
   */
  readVmState(offsetBytes: number, target: Uint8Array): Promise<void>;

  /**
   * Writes VM state past the disk's end. `createSnapshot` with its length keeps it in the snapshot, and takes
   * it from the disk.
   *
   * @throws ByreError TOO_LARGE, and as `write`.
   */
  writeVmState(offsetBytes: number, data: Uint8Array): Promise<void>;

  /** Gives a snapshot another name. Throws SNAPSHOT_NOT_FOUND, INVALID_ARGUMENT, and as `write`. */
  renameSnapshot(idOrName: string, name: string): Promise<Qcow2Snapshot>;

  /**
   * Keeps the disk as it is now in a snapshot whose VM state is then written while the guest goes on. Until it
   * is finished it is called `UNFINISHED_SNAPSHOT`. On a file with transactions nothing is committed before it
   * resolves, so that a guest that stands still does not wait for it.
   *
   * @throws ByreError as `createSnapshot`.
   */
  beginState(options: BeginStateOptions): Promise<StateWriter>;

  /**
   * Opens the VM state of a snapshot to rewrite single clusters of it. The snapshot has its old state until the
   * writer's `finish`, which keeps its id; while it is written there is a second one, `UNFINISHED_SNAPSHOT`.
   *
   * @throws ByreError SNAPSHOT_NOT_FOUND; as `createSnapshot`.
   */
  editState(idOrName: string): Promise<StateWriter>;

  /** The VM state of a snapshot, to read. Throws SNAPSHOT_NOT_FOUND, CORRUPT. */
  openState(idOrName: string): Promise<StateReader>;

  /** Drops what a crash left of saves that were not finished. */
  dropUnfinishedStates(): Promise<void>;

  /**
   * Lets go of VM state that applying a snapshot brought back: whoever has read it from the snapshot does not
   * need it in the disk, and the next snapshot would only copy it.
   */
  dropVmState(vmStateBytes: number): Promise<void>;

  /** Drops every cluster of the disk: it reads as what is behind it. Snapshots stay. */
  makeEmpty(): Promise<void>;
}
