import { WriteStage } from "../block-file.ts";
import type { Allocator } from "./allocator.ts";
import type { EntryEditor } from "./entry-editor.ts";
import type { Qcow2Image } from "./image.ts";
import { encodeCompressedEntry } from "./l2-entry.ts";
import { entryAt, setEntryHalves } from "./mapping.ts";
import type { Need } from "./needs.ts";

/** Writes compressed clusters, one after the other, several to a host cluster. */
export class CompressedWriter {
  /** Host offset where the next data may be put, in a cluster that is not full; 0 when none. */
  private cursor = 0;

  constructor(
    private readonly image: Qcow2Image,
    private readonly allocator: Allocator,
    private readonly entries: EntryEditor,
  ) {}

  /** The cluster that data goes on in has become free, or is some other's now. */
  leave(clusterIndex: number): void {
    if (clusterIndex === this.clusterIndex) this.cursor = 0;
  }

  /** Puts nothing more into clusters that are in use: the counts were changed in bulk. */
  leaveAll(): void {
    this.cursor = 0;
  }

  /**
   * Writes one cluster's packed bytes.
   *
   * @returns true when written, undefined after noting needs.
   */
  tryWrite(guestOffsetBytes: number, packed: Uint8Array, needs: Need[]): true | undefined {
    const { image, allocator, entries } = this;
    const { clusterSizeBytes } = image;
    const place = entries.find(guestOffsetBytes, needs);
    if (!place) return undefined;
    const entry = entryAt(image, place.slice, place.index);
    const free = allocator.findFree(1, needs);
    if (!free) return undefined;
    const freeIndex = free[0] ?? 0;

    // It goes on in the cluster of the last one, and into the next when that is free.
    const cursorIndex = this.clusterIndex;
    const room = (cursorIndex + 1) * clusterSizeBytes - this.cursor;
    const shared = this.cursor > 0 ? allocator.canShare(cursorIndex, needs) : false;
    if (shared === undefined) return undefined;
    const fits = shared && packed.length <= room;
    const straddles = shared && !fits && freeIndex === cursorIndex + 1;
    const hostOffset = fits || straddles ? this.cursor : freeIndex * clusterSizeBytes;
    const taken = fits ? [cursorIndex] : straddles ? [cursorIndex, freeIndex] : [freeIndex];

    const changes = entries.countChanges(taken, [entry], cursorIndex);
    allocator.check(changes, needs);
    for (const index of taken) entries.checkNoOverlap(index * clusterSizeBytes);
    entries.check(place, 1, needs);
    image.tables.checkWritable(hostOffset, packed.length, needs);
    if (needs.length > 0) return undefined;

    image.file.write(hostOffset, packed, WriteStage.DATA);
    this.cursor = hostOffset + packed.length;
    if (this.cursor % clusterSizeBytes === 0) this.cursor = 0;
    const { hi, lo } = encodeCompressedEntry(hostOffset, packed.length, image.clusterBits);
    setEntryHalves(image, place, 0, hi, lo);
    entries.write(place, 1);
    entries.letGo([entry]);
    allocator.apply(changes);
    return true;
  }

  private get clusterIndex(): number {
    return Math.floor(this.cursor / this.image.clusterSizeBytes);
  }
}
