import { ByreError } from "../errors.ts";
import { ENTRY_BYTES, MAX_L1_BYTES } from "../qcow2/format.ts";
import { encodeCompressedEntry, encodeCopiedEntry } from "../qcow2/l2-entry.ts";
import { refcountsPerBlock, writeRefcount } from "../qcow2/refcount-entry.ts";
import { fitRefcounts, isTableTooLong } from "../qcow2/refcount-layout.ts";
import { splitU64, viewOf, writeU64 } from "../qcow2/u64.ts";
import { type PlannedRange, packedLength, packedStart, Stored, sharedView } from "./export-plan.ts";

/** What the new image's refcounts are written in, QEMU's own choice. */
const REFCOUNT_ORDER = 4;
const MAX_COUNT = 65535;

/** One cluster's data in the new image, in the order in which it is written. */
export interface PlacedCluster {
  readonly viewIndex: number;
  /** Index in its range. */
  readonly index: number;
  readonly stored: number;
  readonly offsetBytes: number;
}

/**
 * Where everything of a new image stands, from its first byte to its last: header, refcount table and blocks, L1 tables
 * of the disk and of each snapshot, snapshot table, L2 tables, data. So whoever reads over a network has all
 * tables with the first bytes.
 *
 * Keeps two bytes a cluster of the new image; where data stands is worked out again when it is needed.
 */
export class ExportLayout {
  readonly refcountTable: { readonly offsetBytes: number; readonly clusters: number };
  /** For each view where its L1 table stands. */
  readonly l1Offsets: readonly number[];
  readonly snapshotTableOffset: number;
  readonly sizeBytes: number;
  private readonly l2Entries: number;
  private readonly refcountBlocks: number;
  private readonly l2Offset: number;
  private readonly dataOffset: number;
  private readonly counts: Uint16Array;

  /**
   * @param ranges in the order in which their data is to stand.
   * @param l1Entries of every view's L1 table.
   * @throws ByreError TOO_LARGE.
   */
  constructor(
    private readonly ranges: readonly PlannedRange[],
    private readonly viewCount: number,
    private readonly l1Entries: number,
    snapshotTableBytes: number,
    readonly clusterSizeBytes: number,
    private readonly name: string,
  ) {
    this.l2Entries = clusterSizeBytes / ENTRY_BYTES;
    if (l1Entries * ENTRY_BYTES > MAX_L1_BYTES)
      throw this.tooLarge("an L1 table would be larger than 32 MiB");
    const l1Clusters = Math.ceil((l1Entries * ENTRY_BYTES) / clusterSizeBytes);
    const l2Tables = ranges.reduce((sum, { views }) => sum + views.filter((table) => table).length, 0);
    const snapshotClusters = Math.ceil(snapshotTableBytes / clusterSizeBytes);
    const fixed = 1 + viewCount * l1Clusters + snapshotClusters + l2Tables;
    let dataEnd = 0;
    for (const range of ranges) dataEnd = this.placeRange(range, dataEnd).endBytes;
    const countsPerBlock = refcountsPerBlock(clusterSizeBytes, REFCOUNT_ORDER);
    const { blocks, tableClusters } = fitRefcounts(fixed + dataEnd / clusterSizeBytes, {
      clusterSizeBytes,
      countsPerBlock,
    });
    if (isTableTooLong(tableClusters, clusterSizeBytes))
      throw this.tooLarge("its refcount table would be larger than 8 MiB");
    this.refcountBlocks = blocks;
    this.refcountTable = { offsetBytes: clusterSizeBytes, clusters: tableClusters };
    const firstL1 = (1 + tableClusters + blocks) * clusterSizeBytes;
    const l1Bytes = l1Clusters * clusterSizeBytes;
    this.l1Offsets = Array.from({ length: viewCount }, (_, view) => firstL1 + view * l1Bytes);
    this.snapshotTableOffset = firstL1 + viewCount * l1Bytes;
    this.l2Offset = this.snapshotTableOffset + snapshotClusters * clusterSizeBytes;
    this.dataOffset = this.l2Offset + l2Tables * clusterSizeBytes;
    this.sizeBytes = this.dataOffset + dataEnd;
    this.counts = this.count();
  }

  /** The clusters of a range with their places, in the order of these. */
  *placed(): Generator<{ readonly range: PlannedRange; readonly clusters: readonly PlacedCluster[] }> {
    let at = this.dataOffset;
    for (const range of this.ranges) {
      const { clusters, endBytes } = this.placeRange(range, at);
      yield { range, clusters };
      at = endBytes;
    }
  }

  /** The refcount table and blocks, which follow the header, a cluster at a time. */
  *refcountClusters(): Generator<Uint8Array<ArrayBuffer>> {
    const { clusterSizeBytes, refcountTable, refcountBlocks } = this;
    const firstBlock = refcountTable.offsetBytes + refcountTable.clusters * clusterSizeBytes;
    for (let first = 0; first < refcountTable.clusters * this.l2Entries; first += this.l2Entries) {
      const bytes = new Uint8Array(clusterSizeBytes);
      for (let i = 0; i < this.l2Entries && first + i < refcountBlocks; i++)
        writeU64(viewOf(bytes), i * ENTRY_BYTES, firstBlock + (first + i) * clusterSizeBytes);
      yield bytes;
    }
    const perBlock = refcountsPerBlock(clusterSizeBytes, REFCOUNT_ORDER);
    for (let block = 0; block < refcountBlocks; block++) {
      const bytes = new Uint8Array(clusterSizeBytes);
      for (let i = 0; i < perBlock && block * perBlock + i < this.counts.length; i++)
        writeRefcount(bytes, i, REFCOUNT_ORDER, this.counts[block * perBlock + i] ?? 0);
      yield bytes;
    }
  }

  /** The views' L1 tables one after the other, a view at a time. */
  *l1Tables(): Generator<Uint8Array<ArrayBuffer>> {
    const { clusterSizeBytes, l1Entries } = this;
    const bytes = Math.ceil((l1Entries * ENTRY_BYTES) / clusterSizeBytes) * clusterSizeBytes;
    for (let view = 0; view < this.viewCount; view++) {
      const table = new Uint8Array(bytes);
      let l2Offset = this.l2Offset;
      for (const { index, views } of this.ranges)
        for (const [other, l2] of views.entries()) {
          if (!l2) continue;
          if (other === view) putEntry(table, index, encodeCopiedEntry(l2Offset));
          l2Offset += clusterSizeBytes;
        }
      yield table;
    }
  }

  /** The L2 tables one after the other, in the order in which `l1Tables` points to them. */
  *l2Tables(): Generator<Uint8Array<ArrayBuffer>> {
    const clusterBits = Math.log2(this.clusterSizeBytes);
    for (const { range, clusters } of this.placed()) {
      const offsets = range.views.map((view) => new Float64Array(view ? this.l2Entries : 0));
      for (const { viewIndex, index, offsetBytes } of clusters) {
        const ofView = offsets[viewIndex];
        if (ofView) ofView[index] = offsetBytes;
      }
      const shares = sharers(range, this.l2Entries);
      for (const [viewIndex, view] of range.views.entries()) {
        if (!view) continue;
        const table = new Uint8Array(this.clusterSizeBytes);
        for (const [index, stored] of view.entries()) {
          if (stored === Stored.NOWHERE) continue;
          const owner = sharedView(stored) ?? viewIndex;
          const offsetBytes = offsets[owner]?.[index] ?? 0;
          const own = range.views[owner]?.[index] ?? 0;
          const isShared = (shares[owner]?.[index] ?? 0) > 0;
          if (own > 0)
            putEntry(table, index, encodeCompressedEntry(offsetBytes, packedLength(own), clusterBits));
          else putEntry(table, index, isShared ? splitU64(offsetBytes) : encodeCopiedEntry(offsetBytes));
        }
        yield table;
      }
    }
  }

  /** Packed data first and plain clusters after it, so that what is packed need not begin in new clusters. */
  private placeRange(
    { views }: PlannedRange,
    startBytes: number,
  ): { clusters: PlacedCluster[]; endBytes: number } {
    const { clusterSizeBytes } = this;
    const clusters: PlacedCluster[] = [];
    let at = startBytes;
    for (const [viewIndex, view] of views.entries()) {
      for (const [index, stored] of view?.entries() ?? []) {
        if (stored <= 0) continue;
        const offsetBytes = packedStart(stored, at);
        clusters.push({ viewIndex, index, stored, offsetBytes });
        at = offsetBytes + packedLength(stored);
      }
    }
    at = Math.ceil(at / clusterSizeBytes) * clusterSizeBytes;
    for (const [viewIndex, view] of views.entries()) {
      for (const [index, stored] of view?.entries() ?? []) {
        if (stored !== Stored.PLAIN) continue;
        clusters.push({ viewIndex, index, stored, offsetBytes: at });
        at += clusterSizeBytes;
      }
    }
    return { clusters, endBytes: at };
  }

  private count(): Uint16Array {
    const { clusterSizeBytes } = this;
    const counts = new Uint16Array(this.sizeBytes / clusterSizeBytes);
    counts.fill(1, 0, this.dataOffset / clusterSizeBytes);
    for (const { range, clusters } of this.placed()) {
      const shares = sharers(range, this.l2Entries);
      for (const { viewIndex, index, stored, offsetBytes } of clusters) {
        const references = 1 + (shares[viewIndex]?.[index] ?? 0);
        const lengthBytes = stored > 0 ? packedLength(stored) : clusterSizeBytes;
        const last = Math.floor((offsetBytes + lengthBytes - 1) / clusterSizeBytes);
        for (let at = Math.floor(offsetBytes / clusterSizeBytes); at <= last; at++) {
          const count = (counts[at] ?? 0) + references;
          if (count > MAX_COUNT)
            throw this.tooLarge("its snapshots would share a cluster more than 65535 times");
          counts[at] = count;
        }
      }
    }
    return counts;
  }

  private tooLarge(why: string): ByreError {
    return new ByreError("TOO_LARGE", `${this.name} cannot be exported: ${why}.`, { file: this.name });
  }
}

/** For each cluster of each view how many other views have it too. */
function sharers({ views }: PlannedRange, l2Entries: number): Uint16Array[] {
  const shares = views.map((view) => new Uint16Array(view ? l2Entries : 0));
  for (const view of views) {
    for (const [index, stored] of view?.entries() ?? []) {
      const ofOwner = shares[sharedView(stored) ?? -1];
      if (ofOwner) ofOwner[index] = (ofOwner[index] ?? 0) + 1;
    }
  }
  return shares;
}

function putEntry(table: Uint8Array, index: number, { hi, lo }: { hi: number; lo: number }): void {
  const view = viewOf(table);
  view.setUint32(index * ENTRY_BYTES, hi);
  view.setUint32(index * ENTRY_BYTES + 4, lo);
}
