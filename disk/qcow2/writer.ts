import { WriteStage } from "../block-file.ts";
import { Allocator, type CountChanges } from "./allocator.ts";
import { keptAutoclearFeatures } from "./features.ts";
import { ENTRY_BYTES, HeaderField } from "./format.ts";
import type { Qcow2Image } from "./image.ts";
import { encodeCompressedEntry, encodeCopiedEntry, type L2Entry } from "./l2-entry.ts";
import { type EntryPlace, entryAt, findEntry, findL1 } from "./mapping.ts";
import type { Need } from "./needs.ts";
import type { Reader } from "./reader.ts";

/** Most bytes one operation writes, so that what one attempt needs in memory stays far below a
 * file's cache. */
const MAX_RUN_BYTES = 512 * 1024;

/** One guest cluster of a write, planned. */
interface ClusterPlan {
  readonly entry: L2Entry;
  /** The guest's bytes for this cluster. */
  readonly data: Uint8Array;
  /** Content of a cluster that is written whole, and the entry set to it; undefined to write in place. */
  readonly content: Uint8Array | undefined;
  /** Where in the file to write; undefined until a free cluster is chosen. */
  hostOffsetBytes: number | undefined;
}

/** Writes guest bytes into an image: in place where it may, copy on write elsewhere. */
export class Writer {
  private autoclearDone = false;
  /** Host offset where the next compressed data may be put, in a cluster that is not full; 0 when none. */
  private compressedCursor = 0;

  readonly allocator: Allocator;

  constructor(
    private readonly image: Qcow2Image,
    private readonly reader: Reader,
  ) {
    this.allocator = new Allocator(image, (index) => {
      if (index === this.compressedCluster) this.compressedCursor = 0;
    });
  }

  /**
   * Writes from the front of `data`, at most to the end of a table slice.
   *
   * @returns bytes written, or undefined after noting needs; nothing of the guest's has changed then.
   */
  tryWriteRun(guestOffsetBytes: number, data: Uint8Array, needs: Need[]): number | undefined {
    const { image } = this;
    const place = this.writableEntry(guestOffsetBytes, needs);
    if (!place) return undefined;
    const plans = this.plan(guestOffsetBytes, data, place, needs);
    if (!plans) return undefined;

    const newClusters = plans.filter((plan) => plan.content && plan.hostOffsetBytes === undefined);
    const free = this.allocator.findFree(newClusters.length, needs);
    if (!free) return undefined;
    newClusters.forEach((plan, i) => {
      plan.hostOffsetBytes = (free[i] ?? 0) * image.clusterSizeBytes;
    });
    const replaced = plans.filter((plan) => plan.content);
    const letGo = replaced.filter((plan) => !isReserve(plan)).map((plan) => plan.entry);
    const changes = this.countChanges(free, letGo);
    this.allocator.check(changes, needs);
    for (const plan of plans)
      if (plan.hostOffsetBytes !== undefined)
        image.tables.checkWritable(plan.hostOffsetBytes, plan.content?.length ?? plan.data.length, needs);
    if (replaced.length > 0) this.checkEntries(place, plans.length, needs);
    if (needs.length > 0) return undefined;

    // From here on nothing waits and nothing fails: the image goes from one consistent state to the next.
    let written = 0;
    for (const [i, { content, data, hostOffsetBytes = 0 }] of plans.entries()) {
      image.file.write(hostOffsetBytes, content ?? data, WriteStage.DATA);
      written += data.length;
      if (!content) continue;
      const { hi, lo } = encodeCopiedEntry(hostOffsetBytes);
      this.setEntry(place, i, hi, lo);
    }
    if (replaced.length > 0) this.writeEntries(place, plans.length);
    this.letGo(letGo);
    this.allocator.apply(changes);
    return written;
  }

  /**
   * Writes one whole cluster compressed, or plain where that is not smaller.
   *
   * @returns true when written, undefined after noting needs.
   */
  tryWriteCompressed(
    guestOffsetBytes: number,
    cluster: Uint8Array,
    packed: Uint8Array | undefined,
    needs: Need[],
  ): true | undefined {
    if (!packed) return this.tryWriteRun(guestOffsetBytes, cluster, needs) === undefined ? undefined : true;
    const { image, allocator } = this;
    const { clusterSizeBytes } = image;
    const place = this.writableEntry(guestOffsetBytes, needs);
    if (!place) return undefined;
    const entry = entryAt(image, place.slice, place.index);
    const free = allocator.findFree(1, needs);
    if (!free) return undefined;
    const freeIndex = free[0] ?? 0;

    // Compressed data is packed: it goes on in the cluster of the last one, and into the next when that is free.
    const cursorIndex = this.compressedCluster;
    const room = (cursorIndex + 1) * clusterSizeBytes - this.compressedCursor;
    const shared = this.compressedCursor > 0 ? allocator.canShare(cursorIndex, needs) : false;
    if (shared === undefined) return undefined;
    const fits = shared && packed.length <= room;
    const straddles = shared && !fits && freeIndex === cursorIndex + 1;
    const hostOffset = fits || straddles ? this.compressedCursor : freeIndex * clusterSizeBytes;
    const taken = fits ? [cursorIndex] : straddles ? [cursorIndex, freeIndex] : [freeIndex];

    const changes = this.countChanges(taken, [entry]);
    allocator.check(changes, needs);
    this.checkEntries(place, 1, needs);
    image.tables.checkWritable(hostOffset, packed.length, needs);
    if (needs.length > 0) return undefined;

    image.file.write(hostOffset, packed, WriteStage.DATA);
    this.compressedCursor = hostOffset + packed.length;
    if (this.compressedCursor % clusterSizeBytes === 0) this.compressedCursor = 0;
    const { hi, lo } = encodeCompressedEntry(hostOffset, packed.length, image.clusterBits);
    this.setEntry(place, 0, hi, lo);
    this.writeEntries(place, 1);
    this.letGo([entry]);
    allocator.apply(changes);
    return true;
  }

  /** The L2 entry of a guest offset in a table that may be changed: made or copied where it must be. */
  private writableEntry(guestOffsetBytes: number, needs: Need[]): EntryPlace | undefined {
    if (!this.image.passBarrier(needs) || !this.clearAutoclear(needs)) return undefined;
    const l2OffsetBytes = this.ownL2(guestOffsetBytes, needs);
    if (l2OffsetBytes === undefined) return undefined;
    return findEntry(this.image, l2OffsetBytes, guestOffsetBytes, needs);
  }

  /** Before the first write: drops the autoclear bits of what our writes do not keep right. */
  private clearAutoclear(needs: Need[]): boolean {
    if (this.autoclearDone) return true;
    const { image } = this;
    const { version, autoclearFeatures } = image.header;
    const kept = keptAutoclearFeatures(autoclearFeatures);
    if (version >= 3 && kept !== autoclearFeatures) {
      image.tables.checkWritable(HeaderField.AUTOCLEAR_FEATURES, 8, needs);
      if (needs.length > 0) return false;
      image.setHeaderU64(HeaderField.AUTOCLEAR_FEATURES, Number(kept));
      image.requireBarrier();
    }
    this.autoclearDone = true;
    return image.passBarrier(needs);
  }

  /**
   * The L2 table of a guest offset, used by the active image alone. A missing one is made, one that a
   * snapshot shares is copied: an operation of its own, after which the image is consistent.
   */
  private ownL2(guestOffsetBytes: number, needs: Need[]): number | undefined {
    const { image, allocator } = this;
    const { clusterSizeBytes } = image;
    const { index, l2OffsetBytes, copied } = findL1(image, guestOffsetBytes);
    if (l2OffsetBytes !== 0 && copied) return l2OffsetBytes;

    const table = new Uint8Array(clusterSizeBytes);
    if (l2OffsetBytes !== 0) {
      if (!image.file.readNow(l2OffsetBytes, table)) {
        needs.push(() => image.file.load(l2OffsetBytes, clusterSizeBytes));
        return undefined;
      }
    }
    const free = allocator.findFree(1, needs);
    if (!free) return undefined;
    const changes = new Map(free.map((freeIndex) => [freeIndex, 1]));
    if (l2OffsetBytes !== 0) changes.set(l2OffsetBytes / clusterSizeBytes, -1);
    allocator.check(changes, needs);
    image.canSetL1(index, needs);
    const newOffset = (free[0] ?? 0) * clusterSizeBytes;
    image.tables.checkWritable(newOffset, clusterSizeBytes, needs);
    if (needs.length > 0) return undefined;

    image.tables.forget(newOffset, clusterSizeBytes);
    image.file.write(newOffset, table, WriteStage.DATA);
    const { hi, lo } = encodeCopiedEntry(newOffset);
    image.setL1(index, hi, lo);
    allocator.apply(changes);
    return newOffset;
  }

  /** What each cluster of a write needs, with the content of those that are written whole. */
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
      if (entry.kind === "data" && entry.copied) {
        plans.push({
          entry,
          hostOffsetBytes: entry.hostOffsetBytes + inCluster,
          content: undefined,
          data: piece,
        });
      } else {
        const content = this.mergedCluster(guest - inCluster, inCluster, piece, needs);
        const reserved = entry.kind === "zero" && entry.copied ? entry.hostOffsetBytes : undefined;
        if (content) plans.push({ entry, hostOffsetBytes: reserved, content, data: piece });
      }
      if (needs.length > 0) return undefined;
      done += piece.length;
    }
    return plans;
  }

  /** A whole guest cluster as it will be: what it reads as now, with the new bytes over it. */
  private mergedCluster(
    clusterOffsetBytes: number,
    inCluster: number,
    data: Uint8Array,
    needs: Need[],
  ): Uint8Array | undefined {
    const { clusterSizeBytes } = this.image;
    if (data.length === clusterSizeBytes) return data;
    const content = new Uint8Array(clusterSizeBytes);
    // The disk may end inside its last cluster; past it there is nothing to keep.
    const present = content.subarray(
      0,
      Math.min(clusterSizeBytes, this.image.header.sizeBytes - clusterOffsetBytes),
    );
    if (!this.reader.tryRead(clusterOffsetBytes, present, needs)) return undefined;
    content.set(data, inCluster);
    return content;
  }

  private setEntry(place: EntryPlace, i: number, hi: number, lo: number): void {
    const at = (place.index + i) * ENTRY_BYTES;
    place.slice.view.setUint32(at, hi);
    place.slice.view.setUint32(at + 4, lo);
  }

  private checkEntries(place: EntryPlace, count: number, needs: Need[]): void {
    const start = place.slice.offsetBytes + place.index * ENTRY_BYTES;
    this.image.tables.checkWritable(start, count * ENTRY_BYTES, needs);
  }

  private writeEntries(place: EntryPlace, count: number): void {
    const start = place.index * ENTRY_BYTES;
    this.image.tables.writeThrough(place.slice, start, start + count * ENTRY_BYTES, WriteStage.L2);
  }

  /** Host clusters that an entry refers to. */
  private clustersOf(entry: L2Entry): number[] {
    const { clusterSizeBytes } = this.image;
    switch (entry.kind) {
      case "unallocated":
        return [];
      case "zero":
        return entry.hostOffsetBytes === undefined ? [] : [entry.hostOffsetBytes / clusterSizeBytes];
      case "data":
        return [entry.hostOffsetBytes / clusterSizeBytes];
      case "compressed": {
        const first = Math.floor(entry.hostOffsetBytes / clusterSizeBytes);
        const last = Math.floor((entry.hostOffsetBytes + entry.lengthBytes - 1) / clusterSizeBytes);
        return Array.from({ length: last - first + 1 }, (_, i) => first + i);
      }
    }
  }

  /** One reference more for each cluster taken, one less for each that an entry let go referred to. */
  private countChanges(taken: readonly number[], letGo: readonly L2Entry[]): CountChanges {
    const changes = new Map<number, number>();
    for (const entry of letGo)
      for (const index of this.clustersOf(entry)) changes.set(index, (changes.get(index) ?? 0) - 1);
    for (const index of taken) {
      const change = changes.get(index);
      if (change !== undefined && index !== this.compressedCluster)
        throw this.image.corrupt(
          "a cluster that is in use has a refcount of 0",
          index * this.image.clusterSizeBytes,
        );
      changes.set(index, (change ?? 0) + 1);
    }
    return changes;
  }

  /** The cluster that compressed data goes on in: it may be taken once more and let go in one operation. */
  private get compressedCluster(): number {
    return Math.floor(this.compressedCursor / this.image.clusterSizeBytes);
  }

  private letGo(entries: readonly L2Entry[]): void {
    for (const entry of entries)
      if (entry.kind === "compressed") this.reader.forgetInflated(entry.hostOffsetBytes);
  }
}

/** A cluster that was held in reserve under a zero entry is used now, not let go. */
function isReserve(plan: ClusterPlan): boolean {
  return plan.entry.kind === "zero" && plan.entry.hostOffsetBytes === plan.hostOffsetBytes;
}
