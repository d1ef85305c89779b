import type { Allocator } from "./allocator.ts";
import type { EntryEditor } from "./entry-editor.ts";
import type { Qcow2Image } from "./image.ts";
import { type L2Entry, type PlainEntry, subclusterBits } from "./l2-entry.ts";
import { type EntryPlace, entryAt, findL1, setPlainEntry } from "./mapping.ts";
import type { Need } from "./needs.ts";
import type { Reader } from "./reader.ts";
import type { Writer } from "./writer.ts";

/** Zeros that must be written as data go in pieces of this many bytes. */
const ZEROS_BYTES = 256 * 1024;

const EMPTY: PlainEntry = { kind: "plain", hostOffsetBytes: 0, copied: false, allocated: 0, zeros: 0 };

/** An entry that changes, and whether its host cluster is let go. */
interface EntryChange {
  readonly before: L2Entry;
  readonly after: PlainEntry;
}

/** Zeros and discards: changes of entries alone, where the format can say it. */
export class ZeroWriter {
  constructor(
    private readonly image: Qcow2Image,
    private readonly reader: Reader,
    private readonly writer: Writer,
    private readonly allocator: Allocator,
    private readonly entries: EntryEditor,
  ) {}

  /**
   * Makes the front of a range read as zeros.
   *
   * @param unmap lets go of host clusters; else they stay in reserve under the zero flag.
   * @returns bytes dealt with, or undefined after noting needs.
   */
  tryZeroRun(
    guestOffsetBytes: number,
    lengthBytes: number,
    unmap: boolean,
    needs: Need[],
  ): number | undefined {
    const { image } = this;
    // Version 2 has no zero clusters; only where nothing is behind the image can it say zeros at all.
    if (!image.hasZeroClusters && !this.reader.isAlone)
      return this.writeZeros(guestOffsetBytes, lengthBytes, needs);
    const { subclusterSizeBytes: unit, clusterSizeBytes } = image;
    const { sizeBytes } = image.header;
    const endBytes = guestOffsetBytes + lengthBytes;
    const inUnit = guestOffsetBytes % unit;
    const unitEnd = guestOffsetBytes - inUnit + unit;
    const wholeUnit = inUnit === 0 && (endBytes >= unitEnd || endBytes === sizeBytes);
    if (!wholeUnit) {
      const partBytes = Math.min(lengthBytes, unitEnd - guestOffsetBytes);
      const restIsZero = this.isZeroAround(guestOffsetBytes, partBytes, unitEnd, needs);
      if (restIsZero === undefined) return undefined;
      if (!restIsZero) return this.writeZeros(guestOffsetBytes, partBytes, needs);
      const done = this.zeroUnits(guestOffsetBytes - inUnit, unit, unmap, needs);
      return done === undefined ? undefined : partBytes;
    }
    const units = endBytes === sizeBytes ? Math.ceil(lengthBytes / unit) : Math.floor(lengthBytes / unit);
    const inCluster = guestOffsetBytes % clusterSizeBytes;
    // Parts of a compressed cluster cannot be told apart: its zeros are written as data.
    const partial = inCluster !== 0 || units * unit < clusterSizeBytes;
    if (partial) {
      const place = this.entries.find(guestOffsetBytes, needs);
      if (!place) return undefined;
      const partBytes = Math.min(lengthBytes, clusterSizeBytes - inCluster, units * unit);
      if (entryAt(image, place.slice, place.index).kind === "compressed")
        return this.writeZeros(guestOffsetBytes, partBytes, needs);
    }
    const done = this.zeroUnits(guestOffsetBytes, units * unit, unmap, needs);
    return done === undefined ? undefined : Math.min(done, lengthBytes);
  }

  /**
   * Lets go of whole clusters at the front of a range of whole clusters.
   *
   * @param full the entries are emptied, so that what is behind the image shows; else they read as zeros.
   * @returns bytes dealt with, or undefined after noting needs.
   */
  tryDiscardRun(
    guestOffsetBytes: number,
    lengthBytes: number,
    full: boolean,
    needs: Need[],
  ): number | undefined {
    const { image } = this;
    const { clusterSizeBytes } = image;
    const reachBytes = image.l2ReachBytes - (guestOffsetBytes % image.l2ReachBytes);
    const nothingBehind = this.reader.hasNothingBehind(guestOffsetBytes);
    if (findL1(image, guestOffsetBytes).l2OffsetBytes === 0 && (full || nothingBehind))
      return this.entries.mayChange(needs) ? Math.min(lengthBytes, reachBytes) : undefined;
    const place = this.entries.find(guestOffsetBytes, needs);
    if (!place) return undefined;
    const count = Math.min(place.entriesLeft, Math.ceil(lengthBytes / clusterSizeBytes));
    const zeroed: PlainEntry =
      full || !image.hasZeroClusters ? EMPTY : { ...EMPTY, zeros: subclusterBits(0, image.subclusters) };
    const done = this.change(place, count, needs, (entry) => {
      const stored = entry.kind === "compressed" || entry.allocated !== 0 || entry.hostOffsetBytes !== 0;
      if (!full && !stored && (nothingBehind || entry.zeros === zeroed.zeros)) return undefined;
      if (full && !stored && entry.zeros === 0) return undefined;
      return zeroed;
    });
    return done === undefined ? undefined : Math.min(done * clusterSizeBytes, lengthBytes);
  }

  /** Zero flags for whole subclusters, from the front of a range; returns the bytes dealt with. */
  private zeroUnits(
    guestOffsetBytes: number,
    lengthBytes: number,
    unmap: boolean,
    needs: Need[],
  ): number | undefined {
    const { image } = this;
    if (!image.hasZeroClusters) return this.tryDiscardRun(guestOffsetBytes, lengthBytes, false, needs);
    const { clusterSizeBytes, subclusterSizeBytes, subclusters } = image;
    const place = this.entries.find(guestOffsetBytes, needs);
    if (!place) return undefined;
    const inCluster = guestOffsetBytes % clusterSizeBytes;
    if (inCluster !== 0 || lengthBytes < clusterSizeBytes) {
      const first = inCluster / subclusterSizeBytes;
      const count = Math.min(subclusters - first, lengthBytes / subclusterSizeBytes);
      const bits = subclusterBits(first, count);
      const done = this.change(place, 1, needs, (entry) =>
        entry.kind === "compressed"
          ? undefined
          : {
              ...entry,
              zeros: (entry.zeros | bits) >>> 0,
              allocated: (entry.allocated & ~bits) >>> 0,
            },
      );
      return done === undefined ? undefined : count * subclusterSizeBytes;
    }
    const zeros = subclusterBits(0, subclusters);
    const count = Math.min(place.entriesLeft, Math.floor(lengthBytes / clusterSizeBytes));
    const done = this.change(place, count, needs, (entry) =>
      entry.kind === "compressed" || unmap ? { ...EMPTY, zeros } : { ...entry, zeros, allocated: 0 },
    );
    return done === undefined ? undefined : done * clusterSizeBytes;
  }

  /**
   * Changes entries from a place on, in one step.
   *
   * @param after what an entry is to become; undefined to leave it.
   * @returns `count`, or undefined after noting needs.
   */
  private change(
    place: EntryPlace,
    count: number,
    needs: Need[],
    after: (entry: L2Entry) => PlainEntry | undefined,
  ): number | undefined {
    const { image, entries, allocator } = this;
    const changes: (EntryChange | undefined)[] = [];
    for (let i = 0; i < count; i++) {
      const before = entryAt(image, place.slice, place.index + i);
      const next = after(before);
      changes.push(next && !isSame(before, next) ? { before, after: next } : undefined);
    }
    if (changes.every((change) => change === undefined)) return count;
    const letGo = changes.flatMap((change) =>
      change && !(change.before.kind === "plain" && change.after.hostOffsetBytes !== 0)
        ? [change.before]
        : [],
    );
    const counts = entries.countChanges([], letGo);
    allocator.check(counts, needs);
    entries.check(place, count, needs);
    if (needs.length > 0) return undefined;
    changes.forEach((change, i) => {
      if (change) setPlainEntry(image, place, i, change.after);
    });
    entries.write(place, count);
    entries.letGo(letGo);
    allocator.apply(counts);
    return count;
  }

  /** Writes zeros as data. */
  private writeZeros(guestOffsetBytes: number, lengthBytes: number, needs: Need[]): number | undefined {
    return this.writer.tryWriteRun(
      guestOffsetBytes,
      new Uint8Array(Math.min(lengthBytes, ZEROS_BYTES)),
      needs,
    );
  }

  /**
   * Whether a part of a unit may be made zero by making all of it zero: nothing is stored for the unit, and
   * it reads as zeros around the part.
   */
  private isZeroAround(
    partOffsetBytes: number,
    partBytes: number,
    unitEndBytes: number,
    needs: Need[],
  ): boolean | undefined {
    const { image, reader } = this;
    const unitStart = unitEndBytes - image.subclusterSizeBytes;
    const run = reader.tryFindRun(unitStart, image.subclusterSizeBytes, needs);
    if (!run) return undefined;
    if (run.kind === "zero") return true;
    if (run.kind !== "unallocated") return false;
    const partEnd = partOffsetBytes + partBytes;
    const before = partOffsetBytes > unitStart;
    const after = partEnd < Math.min(unitEndBytes, image.header.sizeBytes);
    return (!before || reader.hasNothingBehind(unitStart)) && (!after || reader.hasNothingBehind(partEnd));
  }
}

function isSame(before: L2Entry, after: PlainEntry): boolean {
  return (
    before.kind === "plain" &&
    before.hostOffsetBytes === after.hostOffsetBytes &&
    before.zeros === after.zeros &&
    before.allocated === after.allocated
  );
}
