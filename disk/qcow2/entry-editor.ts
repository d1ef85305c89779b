import { WriteStage } from "../block-file.ts";
import type { Allocator, CountChanges } from "./allocator.ts";
import type { Qcow2Image } from "./image.ts";
import { clearCopied, encodeCopiedEntry, type L2Entry } from "./l2-entry.ts";
import { type EntryPlace, findEntry, findL1 } from "./mapping.ts";
import type { Need } from "./needs.ts";
import type { Reader } from "./reader.ts";

/**
 * L2 entries that may be changed: what every kind of write shares. Finds the entry in a table of the active
 * image's own, and knows what clusters an entry refers to.
 */
export class EntryEditor {
  private prepared = false;
  private preparing: Promise<void> | undefined;
  private readonly holds = new Set<Promise<void>>();

  /**
   * @param prepare is awaited once, before the first change of the image: drops or marks what changes make
   *   untrue (autoclear features, bitmaps).
   */
  constructor(
    private readonly image: Qcow2Image,
    private readonly reader: Reader,
    private readonly allocator: Allocator,
    private readonly prepare: () => Promise<void>,
  ) {}

  /**
   * Makes writes wait until `release` is called, while the tables are changed in bulk. Reads go on. Held
   * twice, it takes two releases, in any order.
   *
   * @returns release.
   */
  hold(): () => void {
    let resolve = () => {};
    const mine = new Promise<void>((done) => {
      resolve = done;
    });
    this.holds.add(mine);
    return () => {
      this.holds.delete(mine);
      resolve();
    };
  }

  /** Does what must be done before the first change, now. For changes in bulk, which make no attempts. */
  async prepareNow(): Promise<void> {
    if (this.prepared) return;
    // Once, however many ask; again when it failed.
    this.preparing ??= this.prepare().finally(() => {
      this.preparing = undefined;
    });
    await this.preparing;
    this.prepared = true;
  }

  /** Whether the image may be changed in this turn; notes a need when not. */
  mayChange(needs: Need[]): boolean {
    if (this.holds.size > 0) {
      needs.push(async () => void (await Promise.all(this.holds)));
      return false;
    }
    if (!this.prepared) {
      needs.push(() => this.prepareNow());
      return false;
    }
    return this.image.passBarrier(needs);
  }

  /** The L2 entry of a guest offset in a table that may be changed: made or copied where it must be. */
  find(guestOffsetBytes: number, needs: Need[]): EntryPlace | undefined {
    if (!this.mayChange(needs)) return undefined;
    const l2OffsetBytes = this.ownL2(guestOffsetBytes, needs);
    if (l2OffsetBytes === undefined) return undefined;
    return findEntry(this.image, l2OffsetBytes, guestOffsetBytes, needs);
  }

  /** Notes a need when entries from a place on cannot be written now. */
  check(place: EntryPlace, count: number, needs: Need[]): void {
    const { entryBytes, tables } = this.image;
    tables.checkWritable(place.slice.offsetBytes + place.index * entryBytes, count * entryBytes, needs);
  }

  /** Writes entries, already set in the slice, through to the file. */
  write(place: EntryPlace, count: number): void {
    const { entryBytes, tables } = this.image;
    const start = place.index * entryBytes;
    tables.writeThrough(place.slice, start, start + count * entryBytes, WriteStage.L2);
  }

  /** One reference more for each cluster taken, one less for each that an entry let go referred to. */
  countChanges(taken: readonly number[], letGo: readonly L2Entry[], shared?: number): CountChanges {
    const changes = new Map<number, number>();
    for (const entry of letGo)
      for (const index of this.clustersOf(entry)) changes.set(index, (changes.get(index) ?? 0) - 1);
    for (const index of taken) {
      const change = changes.get(index);
      if (change !== undefined && index !== shared)
        throw this.image.corrupt(
          "a cluster that is in use has a refcount of 0",
          index * this.image.clusterSizeBytes,
        );
      changes.set(index, (change ?? 0) + 1);
    }
    return changes;
  }

  /** Forgets what is kept of entries that are let go. */
  letGo(entries: readonly L2Entry[]): void {
    for (const entry of entries)
      if (entry.kind === "compressed") this.reader.forgetUnpacked(entry.hostOffsetBytes);
  }

  /**
   * Holds a place that guest bytes are to be written to against the image's own structures.
   *
   * @throws ByreError CORRUPT when a damaged table points the write at one of them.
   */
  checkNoOverlap(hostOffsetBytes: number): void {
    const { image } = this;
    const what = image.metadata.get(Math.floor(hostOffsetBytes / image.clusterSizeBytes));
    if (what === undefined) return;
    throw image.corrupt(`preventing invalid write on metadata (overlaps with ${what})`, hostOffsetBytes);
  }

  /** Host clusters that an entry refers to. */
  clustersOf(entry: L2Entry): number[] {
    const { clusterSizeBytes } = this.image;
    if (entry.kind === "plain")
      return entry.hostOffsetBytes === 0 ? [] : [entry.hostOffsetBytes / clusterSizeBytes];
    const first = Math.floor(entry.hostOffsetBytes / clusterSizeBytes);
    const last = Math.floor((entry.hostOffsetBytes + entry.lengthBytes - 1) / clusterSizeBytes);
    return Array.from({ length: last - first + 1 }, (_, i) => first + i);
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
    if (l2OffsetBytes !== 0 && !image.file.readNow(l2OffsetBytes, table)) {
      needs.push(() => image.file.load(l2OffsetBytes, clusterSizeBytes));
      return undefined;
    }
    // What a shared table refers to is shared as well, whatever its flags say of the one it was made for.
    clearCopied(table, image.entryBytes);
    const free = allocator.findFree(1, needs);
    if (!free) return undefined;
    const changes = new Map(free.map((freeIndex) => [freeIndex, 1]));
    if (l2OffsetBytes !== 0) changes.set(l2OffsetBytes / clusterSizeBytes, -1);
    allocator.check(changes, needs);
    image.canSetL1(index, needs);
    const newIndex = free[0] ?? 0;
    const newOffset = newIndex * clusterSizeBytes;
    image.tables.checkWritable(newOffset, clusterSizeBytes, needs);
    if (needs.length > 0) return undefined;

    image.tables.forget(newOffset, clusterSizeBytes);
    image.file.write(newOffset, table, WriteStage.DATA);
    const { hi, lo } = encodeCopiedEntry(newOffset);
    image.setL1(index, hi, lo);
    allocator.apply(changes);
    image.metadata.set(newIndex, "active L2 table");
    if (l2OffsetBytes !== 0 && !image.isView) image.metadata.delete(l2OffsetBytes / clusterSizeBytes);
    return newOffset;
  }
}
