import { metadataOf, withMetadata } from "../appliance/header-metadata.ts";
import { METADATA_MAGIC } from "../appliance/metadata.ts";
import type { BlockDevice } from "../block-device.ts";
import { ByreError } from "../errors.ts";
import { createMemoryFile } from "../files/memory-file.ts";
import { CopyRun } from "../qcow2/copy-snapshot.ts";
import { createQcow2 } from "../qcow2/create.ts";
import { featureNameTable, type HeaderExtension } from "../qcow2/extensions.ts";
import { ENTRY_BYTES, HeaderField, SECTOR_BYTES, V3_HEADER_BYTES } from "../qcow2/format.ts";
import type { Qcow2Device } from "../qcow2/qcow2-device.ts";
import { UNFINISHED_SNAPSHOT } from "../qcow2/saved-state.ts";
import { encodeSnapshotTable, type Qcow2Snapshot } from "../qcow2/snapshot-table.ts";
import { findSnapshot } from "../qcow2/snapshots.ts";
import { hasSnapshot } from "../qcow2/state-reader.ts";
import { viewOf, writeU64 } from "../qcow2/u64.ts";
import { ClusterPacker, type PackCluster } from "./cluster-packer.ts";
import { ExportLayout, type PlacedCluster } from "./export-layout.ts";
import {
  isPackedAnew,
  PACKED_AT_ONCE,
  type PlannedRange,
  packedAsItWas,
  packedLength,
  planRange,
} from "./export-plan.ts";
import { ExportView, isQcow2, readPackedPlace } from "./export-view.ts";
import { type ExportSink, PieceSink } from "./piece-sink.ts";

export interface ExportImageOptions {
  /** The disk as this snapshot has it, by id or name: a guest may then write meanwhile. Default: as it is now, and nobody may. */
  disk?: string;
  /** Internal snapshots to take along, by id or name, or all; with their VM states, byte for byte. Default: none. */
  snapshots?: "all" | readonly string[];
  /**
   * true: what is stored plain is packed. false: what the disk has packed is unpacked. Default: each cluster as it
   * is, which is fastest.
   */
  compress?: boolean;
  /** Packs clusters elsewhere, several at once. Default: here, while others wait. */
  pack?: PackCluster;
  /** What the new image says of itself. Default: what the image says, or else the nearest image behind it. */
  metadata?: ReadonlyMap<string, string>;
  /** Told how much is done, 0 to 1. */
  onProgress?: (fraction: number) => void;
  /** Ends it with CANCELLED. */
  signal?: AbortSignal;
}

/** How much of an export the first pass is: next to nothing, or as much as the second where it packs. */
const PLANNING_SHARE = { looking: 0.05, packing: 0.5 } as const;

/**
 * Writes an image that needs nothing behind it, from its first byte to its last, as one stream: a version 3 qcow2 with
 * the device's cluster size and compression type. It has the disk, what the image says of itself and the snapshots asked
 * for; what snapshots share is stored once.
 *
 * The first pass finds out what is stored and how long it is, the second one writes. Where `compress` is true, data is
 * read in both, and packed in both but for the first 64 MiB. Memory beyond these: some MiB for what is under way, 4 bytes
 * for each cluster of a table where anything is stored, and 2 bytes for each cluster of the new image (4.5 MiB for
 * 48 GiB in clusters of 64 KiB).
 *
 * An encrypted disk is exported in plain.
 *
 * @param sink a stream, which is closed at the end and aborted when this fails; or a function, which gets pieces of 1 MiB.
 * @returns the new image's length.
 * @throws ByreError SNAPSHOT_NOT_FOUND (also for one that is deleted meanwhile), CANCELLED, TOO_LARGE, FILE_CHANGED when
 *   the disk was written to meanwhile, METADATA_TOO_LARGE, CORRUPT; as reading the device; what the sink throws.
 */
export async function exportImage(
  device: Qcow2Device,
  sink: ExportSink,
  options: ExportImageOptions = {},
): Promise<{ sizeBytes: number }> {
  const pieces = new PieceSink(sink);
  const views: ExportView[] = [];
  try {
    await openViews(device, options, views);
    const exporting = await Exporting.plan(device, views, options);
    await exporting.write(pieces);
    await pieces.end();
    options.onProgress?.(1);
    return { sizeBytes: pieces.writtenBytes };
  } catch (error) {
    // The first failure says more than that the stream had one too.
    await pieces.abort(error).catch(() => {});
    throw error;
  } finally {
    for (const view of views) if (view.device !== device) await view.device.close();
  }
}

/** An export that is planned. */
class Exporting {
  private constructor(
    private readonly device: Qcow2Device,
    private readonly views: readonly ExportView[],
    private readonly packer: ClusterPacker,
    private readonly layout: ExportLayout,
    private readonly l1Entries: number,
    private readonly options: ExportImageOptions,
  ) {}

  static async plan(
    device: Qcow2Device,
    views: readonly ExportView[],
    options: ExportImageOptions,
  ): Promise<Exporting> {
    const packer = new ClusterPacker(device.image, options.compress, options.pack);
    const { clusterSizeBytes } = packer;
    const l1Entries = Math.max(...views.map((view) => view.l1Entries));
    const ranges: PlannedRange[] = [];
    const rangeBytes = (clusterSizeBytes / ENTRY_BYTES) * clusterSizeBytes;
    const share = options.compress ? PLANNING_SHARE.packing : PLANNING_SHARE.looking;
    const run = startRun(device, views, options, l1Entries * rangeBytes, 0, share);
    for (const index of inOrder(views, clusterSizeBytes / ENTRY_BYTES)) {
      const planned = await planRange(index, views, packer, () => run.advance(0));
      if (planned) ranges.push(planned);
      await run.advance(rangeBytes);
    }
    const tableBytes = encodeSnapshotTable(snapshotsOf(views, l1Entries, [])).length;
    const layout = new ExportLayout(
      ranges,
      views.length,
      l1Entries,
      tableBytes,
      clusterSizeBytes,
      device.name,
    );
    return new Exporting(device, views, packer, layout, l1Entries, options);
  }

  async write(pieces: PieceSink): Promise<void> {
    const { layout, views, l1Entries } = this;
    const share = this.options.compress ? PLANNING_SHARE.packing : PLANNING_SHARE.looking;
    const run = startRun(this.device, views, this.options, layout.sizeBytes, share, 1 - share);
    const put = async (bytes: Uint8Array) => {
      await pieces.write(bytes);
      await run.advance(bytes.length);
    };
    const snapshots = encodeSnapshotTable(snapshotsOf(views, l1Entries, layout.l1Offsets));
    await put(await this.header(snapshots.length > 0));
    for (const cluster of layout.refcountClusters()) await put(cluster);
    for (const table of layout.l1Tables()) await put(table);
    await put(snapshots);
    await pieces.padTo(Math.ceil(pieces.writtenBytes / layout.clusterSizeBytes) * layout.clusterSizeBytes);
    for (const table of layout.l2Tables()) await put(table);
    for (const { range, clusters } of layout.placed()) {
      for (let at = 0; at < clusters.length; at += PACKED_AT_ONCE) {
        const some = clusters.slice(at, at + PACKED_AT_ONCE);
        const data = await Promise.all(some.map((cluster) => this.dataOf(range, cluster)));
        for (const [i, { offsetBytes }] of some.entries()) {
          await pieces.padTo(offsetBytes);
          await put(data[i] ?? new Uint8Array());
        }
      }
    }
    await pieces.padTo(layout.sizeBytes);
  }

  private async dataOf(range: PlannedRange, placed: PlacedCluster): Promise<Uint8Array> {
    const { packer } = this;
    const view = this.views[placed.viewIndex];
    if (!view) throw new ByreError("INTERNAL", "A planned cluster belongs to no view.");
    const cluster = (range.index * packer.clusterSizeBytes) / ENTRY_BYTES + placed.index;
    if (placed.stored > 0 && !isPackedAnew(placed.stored)) {
      const { packed } = await view.status(cluster, 1);
      if (!packed || packedAsItWas(packed) !== placed.stored) throw this.changed(cluster);
      return packer.cleaned(await readPackedPlace(packed), packed);
    }
    const kept = placed.stored > 0 ? packer.takeKept(placed.viewIndex, cluster) : undefined;
    if (kept) return kept;
    const plain = new Uint8Array(packer.clusterSizeBytes);
    await view.read(cluster, plain);
    if (placed.stored < 0) return plain;
    const again = await packer.pack(plain);
    if (again?.length !== packedLength(placed.stored)) throw this.changed(cluster);
    return again;
  }

  /** The new image's first cluster. */
  private async header(hasSnapshots: boolean): Promise<Uint8Array> {
    const { device, layout } = this;
    const sizeBytes = this.views[0]?.device.sizeBytes ?? 0;
    const made = createMemoryFile({ name: device.name });
    await createQcow2(made, {
      sizeBytes: Math.ceil(sizeBytes / SECTOR_BYTES) * SECTOR_BYTES,
      clusterSizeBytes: layout.clusterSizeBytes,
      compression: this.packer.compression,
      extensions: this.extensions(),
    });
    const header = new Uint8Array(layout.clusterSizeBytes);
    await made.read(0, header);
    const view = viewOf(header);
    writeU64(view, HeaderField.SIZE, sizeBytes);
    view.setUint32(HeaderField.L1_SIZE, this.l1Entries);
    writeU64(view, HeaderField.L1_OFFSET, layout.l1Offsets[0] ?? 0);
    writeU64(view, HeaderField.REFCOUNT_TABLE_OFFSET, layout.refcountTable.offsetBytes);
    view.setUint32(HeaderField.REFCOUNT_TABLE_CLUSTERS, layout.refcountTable.clusters);
    view.setUint32(HeaderField.SNAPSHOT_COUNT, this.views.length - 1);
    if (hasSnapshots) writeU64(view, HeaderField.SNAPSHOTS_OFFSET, layout.snapshotTableOffset);
    return header;
  }

  private extensions(): HeaderExtension[] {
    const { device, options } = this;
    const metadata = new Map(options.metadata ?? carriedMetadata(device));
    const start = metadata.get("machine.snapshot");
    // It would name a snapshot that is not there.
    if (!options.metadata && start !== undefined && !this.hasView(start)) metadata.delete("machine.snapshot");
    if (metadata.size === 0) return [];
    const header = { ...device.header, headerBytes: V3_HEADER_BYTES, backingName: undefined };
    return withMetadata(header, [featureNameTable()], metadata, device.name).filter(
      ({ magic }) => magic === METADATA_MAGIC,
    );
  }

  private hasView(idOrName: string): boolean {
    return this.views.some(({ snapshot }) => snapshot?.id === idOrName || snapshot?.name === idOrName);
  }

  private changed(cluster: number): ByreError {
    const { name } = this.device;
    return new ByreError(
      "FILE_CHANGED",
      `${name} was written to while it was being exported. Pause the machine, or export a snapshot of it.`,
      { file: name, offsetBytes: cluster * this.packer.clusterSizeBytes },
    );
  }
}

/** The disk first, then the snapshots. */
async function openViews(
  device: Qcow2Device,
  options: ExportImageOptions,
  views: ExportView[],
): Promise<void> {
  const { snapshots = [], disk } = options;
  const taken =
    snapshots === "all"
      ? device.snapshots.filter(({ name }) => name !== UNFINISHED_SNAPSHOT)
      : device.snapshots.filter(({ id }) =>
          snapshots.map((idOrName) => findSnapshot(device.image, idOrName).id).includes(id),
        );
  views.push(new ExportView(disk === undefined ? device : await device.openSnapshot(disk)));
  for (const snapshot of taken) views.push(new ExportView(await device.openSnapshot(snapshot.id), snapshot));
}

/** The L2 tables' ranges as their data is to stand: machine states before the disk, since a start reads them first. */
function inOrder(views: readonly ExportView[], l2Entries: number): number[] {
  const firstState = Math.min(
    ...views
      .filter(({ snapshot }) => (snapshot?.vmStateBytes ?? 0) > 0)
      .map((view) => view.firstStateCluster / l2Entries),
  );
  const all = Array.from({ length: Math.max(...views.map((view) => view.l1Entries)) }, (_, index) => index);
  return [...all.filter((index) => index >= firstState), ...all.filter((index) => index < firstState)];
}

function startRun(
  device: Qcow2Device,
  views: readonly ExportView[],
  { onProgress, signal, disk }: ExportImageOptions,
  totalBytes: number,
  from: number,
  share: number,
): CopyRun {
  const watched = views.flatMap(({ snapshot }) => snapshot ?? []);
  if (disk !== undefined) watched.push(findSnapshot(device.image, disk));
  return new CopyRun(
    {
      ...(onProgress && { onProgress: (fraction: number) => onProgress(from + fraction * share) }),
      ...(signal && { signal }),
    },
    totalBytes,
    () => {
      // What its tables say may be some other's by now.
      for (const snapshot of watched)
        if (!hasSnapshot(device.image, snapshot)) findSnapshot(device.image, snapshot.id);
    },
  );
}

function snapshotsOf(
  views: readonly ExportView[],
  l1Entries: number,
  l1Offsets: readonly number[],
): Qcow2Snapshot[] {
  return views.flatMap(({ snapshot }, index) =>
    snapshot ? [{ ...snapshot, l1Entries, l1OffsetBytes: l1Offsets[index] ?? 0 }] : [],
  );
}

/** What an image says of itself, or else the nearest behind it that says anything. */
function carriedMetadata(device: BlockDevice | undefined): ReadonlyMap<string, string> {
  if (!device || !isQcow2(device)) return new Map();
  const own = metadataOf(device.header, device.name);
  return own.size > 0 ? own : carriedMetadata(device.backing);
}
