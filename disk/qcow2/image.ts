import { type BlockFile, WriteStage } from "../block-file.ts";
import { ByreError } from "../errors.ts";
import type { ClusterCodec } from "./compression.ts";
import type { ClusterCipher } from "./crypt.ts";
import { ENTRY_BYTES, HeaderField, IncompatibleFeature, SECTOR_BYTES, SUBCLUSTERS } from "./format.ts";
import { hasIncompatible, type Qcow2Header } from "./header.ts";
import { decodeTableOffset } from "./l2-entry.ts";
import { type Need, whenWritable } from "./needs.ts";
import { type MetadataClusters, mapMetadata } from "./overlap.ts";
import { refcountsPerBlock } from "./refcount-entry.ts";
import type { Qcow2Snapshot } from "./snapshot-table.ts";
import { TableCache } from "./table-cache.ts";
import { bytesOf, viewOf, writeU64 } from "./u64.ts";

/** What an image is opened from. */
export interface ImageParts {
  readonly file: BlockFile;
  readonly header: Qcow2Header;
  /** Content of the active L1 table. */
  readonly l1: Uint8Array;
  /** Content of the refcount table. */
  readonly refcountTable: Uint8Array;
  readonly snapshots: readonly Qcow2Snapshot[];
  readonly snapshotTableBytes: number;
  readonly codec: ClusterCodec;
  readonly cipher: ClusterCipher | undefined;
}

type ActiveFields = Pick<Qcow2Image, "header" | "l1" | "l1OffsetBytes" | "snapshots" | "snapshotTableBytes">;

/**
 * An open qcow2 file: its header and first-level tables whole in memory, second-level tables through a
 * cache. What the reader, the writer and the allocator share.
 */
export class Qcow2Image {
  readonly clusterBits: number;
  readonly clusterSizeBytes: number;
  /** L2 entries of 16 bytes, each for 32 subclusters. */
  readonly extendedL2: boolean;
  /** Bytes of an L2 entry. */
  readonly entryBytes: number;
  /** Entries of one L2 table. */
  readonly l2Entries: number;
  /** Guest bytes that one L2 table covers. */
  readonly l2ReachBytes: number;
  /** Units of a cluster that are stored apart: 32 with extended L2 entries, else 1. */
  readonly subclusters: number;
  readonly subclusterSizeBytes: number;
  readonly tables: TableCache;
  readonly file: BlockFile;
  /** As the file's header stands; replaced whole when it changes. */
  header: Qcow2Header;
  /** The active L1 table, kept equal to the file. Growth replaces it. */
  l1: DataView;
  l1OffsetBytes: number;
  /** The refcount table, kept equal to the file. Growth replaces it. */
  refcountTable: DataView;
  refcountTableOffsetBytes: number;
  readonly codec: ClusterCodec;
  readonly cipher: ClusterCipher | undefined;
  /** The internal snapshots, as the table in the file has them. */
  snapshots: readonly Qcow2Snapshot[];
  /** Length of the snapshot table. */
  snapshotTableBytes: number;
  private metadataClusters: MetadataClusters | undefined;
  private readonly damage = new WeakSet<ByreError>();
  private barrier = false;
  /** The image that a view of a snapshot belongs to; else itself. Barrier and metadata are the owner's. */
  private owner: Qcow2Image = this;

  constructor(parts: ImageParts) {
    const { file, header } = parts;
    this.file = file;
    this.header = header;
    this.clusterBits = header.clusterBits;
    this.clusterSizeBytes = header.clusterSizeBytes;
    this.extendedL2 = hasIncompatible(header, IncompatibleFeature.EXTENDED_L2);
    this.entryBytes = this.extendedL2 ? 2 * ENTRY_BYTES : ENTRY_BYTES;
    this.l2Entries = this.clusterSizeBytes / this.entryBytes;
    this.l2ReachBytes = this.clusterSizeBytes * this.l2Entries;
    this.subclusters = this.extendedL2 ? SUBCLUSTERS : 1;
    this.subclusterSizeBytes = this.clusterSizeBytes / this.subclusters;
    this.tables = new TableCache(file, header.clusterSizeBytes);
    this.l1 = viewOf(parts.l1);
    this.l1OffsetBytes = header.l1OffsetBytes;
    this.refcountTable = viewOf(parts.refcountTable);
    this.refcountTableOffsetBytes = header.refcountTableOffsetBytes;
    this.codec = parts.codec;
    this.cipher = parts.cipher;
    this.snapshots = parts.snapshots;
    this.snapshotTableBytes = parts.snapshotTableBytes;
  }

  /** Zero clusters exist from version 3 on. */
  get hasZeroClusters(): boolean {
    return this.header.version >= 3;
  }

  /** A refcount has 2^order bits. */
  get refcountOrder(): number {
    return this.header.refcountOrder;
  }

  get l1Entries(): number {
    return this.l1.byteLength / ENTRY_BYTES;
  }

  /** Whether this is the image as a snapshot has it, over the tables of another. */
  get isView(): boolean {
    return this.owner !== this;
  }

  /** The clusters that hold the image's own structures: nothing of the guest's may be written there. */
  get metadata(): MetadataClusters {
    // A view's header is of the time when it was opened: tables have moved since.
    if (this.isView) return this.owner.metadata;
    this.metadataClusters ??= mapMetadata(this);
    return this.metadataClusters;
  }

  /** Takes over an active L1 table and virtual size that the file has already. */
  setActive(l1: Uint8Array, l1OffsetBytes: number, sizeBytes: number): void {
    this.l1 = viewOf(l1);
    this.l1OffsetBytes = l1OffsetBytes;
    this.header = { ...this.header, sizeBytes, l1OffsetBytes, l1Entries: l1.length / ENTRY_BYTES };
    this.metadataClusters = undefined;
  }

  /** Takes over a snapshot table that the file has already. */
  setSnapshots(snapshots: readonly Qcow2Snapshot[], offsetBytes: number, lengthBytes: number): void {
    this.snapshots = snapshots;
    this.snapshotTableBytes = lengthBytes;
    this.header = { ...this.header, snapshotCount: snapshots.length, snapshotsOffsetBytes: offsetBytes };
  }

  /** What a change of the image as a whole may replace in memory. */
  activeFields(): ActiveFields {
    const { header, l1, l1OffsetBytes, snapshots, snapshotTableBytes } = this;
    return { header, l1, l1OffsetBytes, snapshots, snapshotTableBytes };
  }

  /** Undoes such a change, which the file does not have after all. */
  restoreActiveFields(fields: ActiveFields): void {
    Object.assign(this, fields);
    this.metadataClusters = undefined;
  }

  /** A read-only image of the disk as a snapshot has it, over the same file. */
  viewSnapshot(snapshot: Qcow2Snapshot, l1: Uint8Array): Qcow2Image {
    const { l1OffsetBytes, l1Entries, diskBytes: sizeBytes } = snapshot;
    const { refcountTable: table } = this;
    const view = new Qcow2Image({
      file: this.file,
      header: { ...this.header, l1OffsetBytes, l1Entries, sizeBytes },
      l1,
      refcountTable: bytesOf(table),
      snapshots: this.snapshots,
      snapshotTableBytes: this.snapshotTableBytes,
      codec: this.codec,
      cipher: this.cipher,
    });
    view.owner = this.owner;
    return view;
  }

  /** Takes over refcount structures of another width that the file has already. */
  setRefcounts(table: Uint8Array, offsetBytes: number, refcountOrder: number): void {
    this.refcountTable = viewOf(table);
    this.refcountTableOffsetBytes = offsetBytes;
    this.header = {
      ...this.header,
      refcountOrder,
      refcountTableOffsetBytes: offsetBytes,
      refcountTableClusters: table.length / this.clusterSizeBytes,
    };
    this.forgetStructures();
  }

  /** What is kept in memory of the file's structures is no longer right: they were changed in bulk. */
  forgetStructures(): void {
    this.metadataClusters = undefined;
    this.tables.clear();
  }

  /** Sets an L1 entry, in memory and in the file. `canSetL1` must have been asked in this turn. */
  setL1(index: number, hi: number, lo: number): void {
    this.l1.setUint32(index * ENTRY_BYTES, hi);
    this.l1.setUint32(index * ENTRY_BYTES + 4, lo);
    const entry = new Uint8Array(this.l1.buffer, this.l1.byteOffset + index * ENTRY_BYTES, ENTRY_BYTES);
    this.file.write(this.l1OffsetBytes + index * ENTRY_BYTES, entry, WriteStage.L1);
  }

  canSetL1(index: number, needs: Need[]): void {
    this.tables.checkWritable(this.l1OffsetBytes + index * ENTRY_BYTES, ENTRY_BYTES, needs);
  }

  /**
   * On a file without transactions: nothing further may be written until what has been is on disk. For
   * header changes that later writes rely on, since one flush writes the header last.
   */
  requireBarrier(): void {
    this.barrier = !this.file.transactional;
  }

  /** Whether no barrier stands; notes the need to flush when one does. */
  passBarrier(needs: Need[]): boolean {
    const { owner } = this;
    if (!owner.barrier) return true;
    needs.push(async () => {
      await this.file.flush();
      owner.barrier = false;
    });
    return false;
  }

  /** Makes a change of the header's fixed fields as soon as they can be written. */
  whenHeaderReady(change: () => void): Promise<void> {
    return whenWritable(this.file, 0, SECTOR_BYTES, change);
  }

  /** Sets the incompatible feature bits, in memory and in the file. */
  setIncompatibleFeatures(features: bigint): void {
    this.writeHeaderU64(HeaderField.INCOMPATIBLE_FEATURES, features);
    this.header = { ...this.header, incompatibleFeatures: features };
  }

  /** Sets the autoclear feature bits, in memory and in the file. */
  setAutoclearFeatures(features: bigint): void {
    this.writeHeaderU64(HeaderField.AUTOCLEAR_FEATURES, features);
    this.header = { ...this.header, autoclearFeatures: features };
  }

  private writeHeaderU64(fieldBytes: number, value: bigint): void {
    const bytes = new Uint8Array(8);
    viewOf(bytes).setBigUint64(0, value);
    this.file.write(fieldBytes, bytes, WriteStage.HEADER);
  }

  /** Points the header at a refcount table; both fields in one write. */
  setRefcountTable(table: Uint8Array, offsetBytes: number): void {
    const bytes = new Uint8Array(12);
    writeU64(viewOf(bytes), 0, offsetBytes);
    viewOf(bytes).setUint32(8, table.length / this.clusterSizeBytes);
    this.file.write(HeaderField.REFCOUNT_TABLE_OFFSET, bytes, WriteStage.HEADER);
    this.refcountTable = viewOf(table);
    this.refcountTableOffsetBytes = offsetBytes;
    this.header = {
      ...this.header,
      refcountTableOffsetBytes: offsetBytes,
      refcountTableClusters: table.length / this.clusterSizeBytes,
    };
    this.metadataClusters = undefined;
  }

  /**
   * Where the refcount block of a cluster is, the cluster's place in it, and where the table says so.
   *
   * @returns a block offset of 0 when nothing counts the cluster.
   * @throws ByreError CORRUPT or TRUNCATED when the entry does not point to a cluster inside the file.
   */
  findRefcountBlock(clusterIndex: number): {
    blockOffsetBytes: number;
    indexInBlock: number;
    entryOffsetBytes: number;
  } {
    const perBlock = refcountsPerBlock(this.clusterSizeBytes, this.refcountOrder);
    const blockIndex = Math.floor(clusterIndex / perBlock);
    const at = blockIndex * ENTRY_BYTES;
    const { refcountTable } = this;
    const blockOffsetBytes =
      at < refcountTable.byteLength
        ? decodeTableOffset(refcountTable.getUint32(at), refcountTable.getUint32(at + 4))
        : 0;
    const entryOffsetBytes = this.refcountTableOffsetBytes + at;
    if (blockOffsetBytes !== 0)
      this.checkClusterOffset(blockOffsetBytes, "refcount table entry", entryOffsetBytes);
    return { blockOffsetBytes, indexInBlock: clusterIndex - blockIndex * perBlock, entryOffsetBytes };
  }

  /** An error about this image's structures at a place in its file: not to be written to any more. */
  corrupt(what: string, offsetBytes: number): ByreError {
    const error = new ByreError(
      "CORRUPT",
      `${this.file.name}: ${what} (offset ${offsetBytes}). Repair it with byre check -r all.`,
      { file: this.file.name, offsetBytes },
    );
    this.damage.add(error);
    return error;
  }

  /** Whether an error is about this image's own structures, and not about those of an image behind it. */
  isOwnDamage(error: ByreError): boolean {
    return this.damage.has(error);
  }

  /** An error about a guest's bytes: the structures are sound. */
  damagedData(what: string, offsetBytes: number): ByreError {
    return new ByreError("CORRUPT", `${this.file.name}: ${what} (offset ${offsetBytes}).`, {
      file: this.file.name,
      offsetBytes,
    });
  }

  /**
   * Holds a host offset from a table against the format.
   *
   * @param what whose offset it is, for the message.
   * @param entryOffsetBytes where the entry stands.
   * @throws ByreError CORRUPT when it is not a cluster's start; TRUNCATED when it is past the file's end.
   */
  checkClusterOffset(offsetBytes: number, what: string, entryOffsetBytes: number): void {
    if (offsetBytes % this.clusterSizeBytes !== 0 || offsetBytes === 0)
      throw this.corrupt(
        `the ${what} points to ${offsetBytes}, which is not a cluster's start`,
        entryOffsetBytes,
      );
    if (offsetBytes >= this.file.sizeBytes)
      throw new ByreError(
        "TRUNCATED",
        `${this.file.name}: the ${what} at offset ${entryOffsetBytes} points to ${offsetBytes}, past the end of ` +
          `the file, which has ${this.file.sizeBytes} bytes. The file is cut short or damaged.`,
        { file: this.file.name, offsetBytes: entryOffsetBytes, sizeBytes: this.file.sizeBytes },
      );
  }
}
