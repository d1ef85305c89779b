import { WriteStage } from "../block-file.ts";
import type { Allocator } from "./allocator.ts";
import type { EntryEditor } from "./entry-editor.ts";
import { SECTOR_BYTES } from "./format.ts";
import type { Qcow2Image } from "./image.ts";
import { type L2Entry, type PlainEntry, subclusterBits } from "./l2-entry.ts";
import { type EntryPlace, entryAt, setPlainEntry } from "./mapping.ts";
import type { Need } from "./needs.ts";
import type { Reader } from "./reader.ts";

/** Most bytes one operation writes, so that what one attempt needs in memory stays far below a file's cache. */
const MAX_RUN_BYTES = 512 * 1024;

/** Bytes to write at a place in a host cluster. */
interface Piece {
  readonly inClusterBytes: number;
  readonly bytes: Uint8Array;
}

/** One guest cluster of a write, planned. */
interface ClusterPlan {
  readonly guestClusterOffsetBytes: number;
  /** How many of the guest's bytes it takes in. */
  readonly dataBytes: number;
  readonly pieces: readonly Piece[];
  /** The entry as it will be; undefined when it stays. Without a host cluster until a free one is chosen. */
  readonly entry: PlainEntry | undefined;
  /** The entry whose clusters are let go. */
  readonly replaced: L2Entry | undefined;
  /** The host cluster to write to; undefined until a free one is chosen. */
  hostOffsetBytes: number | undefined;
}

/** Writes guest bytes into an image: in place where it may, copy on write elsewhere. */
export class Writer {
  constructor(
    private readonly image: Qcow2Image,
    private readonly reader: Reader,
    private readonly allocator: Allocator,
    private readonly entries: EntryEditor,
  ) {}

  /**
   * Writes from the front of `data`, at most to the end of a table slice.
   *
   * @returns bytes written, or undefined after noting needs; nothing of the guest's has changed then.
   */
  tryWriteRun(guestOffsetBytes: number, data: Uint8Array, needs: Need[]): number | undefined {
    const { image, entries, allocator } = this;
    const place = entries.find(guestOffsetBytes, needs);
    if (!place) return undefined;
    const plans = this.plan(guestOffsetBytes, data, place, needs);
    if (!plans) return undefined;

    const homeless = plans.filter((plan) => plan.hostOffsetBytes === undefined);
    const free = allocator.findFree(homeless.length, needs);
    if (!free) return undefined;
    homeless.forEach((plan, i) => {
      plan.hostOffsetBytes = (free[i] ?? 0) * image.clusterSizeBytes;
    });
    const letGo = plans.flatMap((plan) => (plan.replaced ? [plan.replaced] : []));
    const changes = entries.countChanges(free, letGo);
    allocator.check(changes, needs);
    const changed = plans.some((plan) => plan.entry !== undefined);
    for (const { hostOffsetBytes = 0, pieces, entry, replaced } of plans) {
      entries.checkNoOverlap(hostOffsetBytes);
      if (!replaced && entry && hostOffsetBytes >= image.file.sizeBytes)
        allocator.checkReserve(hostOffsetBytes / image.clusterSizeBytes, needs);
      for (const { inClusterBytes, bytes } of pieces)
        image.tables.checkWritable(hostOffsetBytes + inClusterBytes, bytes.length, needs);
    }
    if (changed) entries.check(place, plans.length, needs);
    if (needs.length > 0) return undefined;

    // From here on nothing waits and nothing fails: the image goes from one consistent state to the next.
    let written = 0;
    for (const [i, plan] of plans.entries()) {
      const { hostOffsetBytes = 0 } = plan;
      for (const piece of plan.pieces)
        image.file.write(hostOffsetBytes + piece.inClusterBytes, this.encoded(plan, piece), WriteStage.DATA);
      written += plan.dataBytes;
      if (plan.entry) setPlainEntry(image, place, i, { ...plan.entry, hostOffsetBytes });
    }
    if (changed) entries.write(place, plans.length);
    entries.letGo(letGo);
    allocator.apply(changes);
    return written;
  }

  /** What each cluster of a write needs, with the bytes to write; undefined after noting needs. */
  private plan(
    guestOffsetBytes: number,
    data: Uint8Array,
    place: EntryPlace,
    needs: Need[],
  ): ClusterPlan[] | undefined {
    const { image } = this;
    const { clusterSizeBytes } = image;
    const plans: ClusterPlan[] = [];
    const maxClusters = Math.min(place.entriesLeft, Math.max(1, MAX_RUN_BYTES / clusterSizeBytes));
    let done = 0;
    while (done < data.length && plans.length < maxClusters) {
      const guest = guestOffsetBytes + done;
      const inCluster = guest % clusterSizeBytes;
      const piece = data.subarray(done, done + Math.min(data.length - done, clusterSizeBytes - inCluster));
      const entry = entryAt(image, place.slice, place.index + plans.length);
      const own = entry.kind === "plain" && entry.hostOffsetBytes !== 0 && entry.copied;
      const plan = own
        ? this.planInPlace(entry, guest - inCluster, inCluster, piece, needs)
        : this.planAnew(entry, guest - inCluster, inCluster, piece, needs);
      if (!plan) return undefined;
      plans.push(plan);
      done += piece.length;
    }
    return plans;
  }

  /** Into the host cluster that the entry has. */
  private planInPlace(
    entry: PlainEntry,
    guestClusterOffsetBytes: number,
    inCluster: number,
    data: Uint8Array,
    needs: Need[],
  ): ClusterPlan | undefined {
    const touched = this.touched(inCluster, data.length);
    const stored = (entry.allocated & touched.bits) >>> 0 === touched.bits;
    const alignBytes = stored ? (this.image.cipher ? SECTOR_BYTES : 1) : this.image.subclusterSizeBytes;
    const piece = this.merged(guestClusterOffsetBytes, inCluster, data, alignBytes, needs);
    if (!piece) return undefined;
    return {
      guestClusterOffsetBytes,
      dataBytes: data.length,
      pieces: [piece],
      entry: stored
        ? undefined
        : {
            ...entry,
            allocated: (entry.allocated | touched.bits) >>> 0,
            zeros: (entry.zeros & ~touched.bits) >>> 0,
          },
      replaced: undefined,
      hostOffsetBytes: entry.hostOffsetBytes,
    };
  }

  /** Into a new host cluster, with what the old one has of the bytes that are not written. */
  private planAnew(
    entry: L2Entry,
    guestClusterOffsetBytes: number,
    inCluster: number,
    data: Uint8Array,
    needs: Need[],
  ): ClusterPlan | undefined {
    const { image } = this;
    const { subclusters, subclusterSizeBytes } = image;
    const touched = this.touched(inCluster, data.length);
    const stored = entry.kind === "compressed" ? subclusterBits(0, subclusters) : entry.allocated;
    const zeros = entry.kind === "compressed" ? 0 : entry.zeros;
    const main = this.merged(guestClusterOffsetBytes, inCluster, data, subclusterSizeBytes, needs);
    if (!main) return undefined;
    const pieces = [main];
    const keep = (stored & ~touched.bits) >>> 0;
    for (let i = 0; i < subclusters; i++) {
      if (((keep >>> i) & 1) === 0) continue;
      const none = new Uint8Array(0);
      const kept = this.merged(
        guestClusterOffsetBytes,
        i * subclusterSizeBytes,
        none,
        subclusterSizeBytes,
        needs,
      );
      if (!kept) return undefined;
      pieces.push(kept);
    }
    return {
      guestClusterOffsetBytes,
      dataBytes: data.length,
      pieces,
      entry: {
        kind: "plain",
        hostOffsetBytes: 0,
        copied: true,
        allocated: (stored | touched.bits) >>> 0,
        zeros: (zeros & ~touched.bits) >>> 0,
      },
      replaced: entry,
      hostOffsetBytes: undefined,
    };
  }

  /** Which subclusters a range of a cluster touches. */
  private touched(inCluster: number, lengthBytes: number): { bits: number } {
    const { subclusterSizeBytes } = this.image;
    const first = Math.floor(inCluster / subclusterSizeBytes);
    const last = Math.floor((inCluster + lengthBytes - 1) / subclusterSizeBytes);
    return { bits: subclusterBits(first, last - first + 1) };
  }

  /**
   * A range of a guest cluster, widened to whole units, as it will be: what it reads as now, with the new
   * bytes over it.
   *
   * @param data may be empty: then the unit at `inCluster` as it is.
   */
  private merged(
    guestClusterOffsetBytes: number,
    inCluster: number,
    data: Uint8Array,
    alignBytes: number,
    needs: Need[],
  ): Piece | undefined {
    const start = inCluster - (inCluster % alignBytes);
    const end = Math.ceil((inCluster + Math.max(1, data.length)) / alignBytes) * alignBytes;
    if (end - start === data.length) return { inClusterBytes: start, bytes: data };
    const bytes = new Uint8Array(end - start);
    const guest = guestClusterOffsetBytes + start;
    const { sizeBytes } = this.image.header;
    // The disk may end inside its last cluster; past it there is nothing to keep. VM state lies past it whole.
    const present = guest >= sizeBytes ? bytes : bytes.subarray(0, sizeBytes - guest);
    if (!this.reader.tryRead(guest, present, needs)) return undefined;
    bytes.set(data, inCluster - start);
    return { inClusterBytes: start, bytes };
  }

  /** The bytes as they stand in the file. */
  private encoded(plan: ClusterPlan, piece: Piece): Uint8Array {
    const { cipher } = this.image;
    if (!cipher) return piece.bytes;
    const bytes = piece.bytes.slice();
    cipher.encrypt(plan.guestClusterOffsetBytes + piece.inClusterBytes, bytes);
    return bytes;
  }
}
