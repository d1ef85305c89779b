import { ENTRY_BYTES } from "./format.ts";
import type { Qcow2Image } from "./image.ts";
import {
  decodeExtendedEntry,
  decodeL2Entry,
  decodeTableOffset,
  encodePlainEntry,
  isCopied,
  type L2Entry,
  type PlainEntry,
  type SubclusterKind,
  subclusterKind,
} from "./l2-entry.ts";
import type { Need } from "./needs.ts";
import type { TableSlice } from "./table-cache.ts";

/** Where a guest cluster's L2 entry stands. */
export interface EntryPlace {
  readonly slice: TableSlice;
  /** Index of the entry in the slice. */
  readonly index: number;
  /** Entries of the slice from this one on: an operation stays within one slice. */
  readonly entriesLeft: number;
}

/** The L1 entry of a guest offset. */
export interface L1Place {
  readonly index: number;
  /** Offset of the L2 table in bytes, 0 when there is none yet. */
  readonly l2OffsetBytes: number;
  /** The table's refcount is exactly 1: it may be changed in place. */
  readonly copied: boolean;
}

/** Guest bytes that one look-up found to be stored alike. */
export interface Run {
  readonly kind: SubclusterKind;
  readonly lengthBytes: number;
  /** The entry of the run's first cluster. */
  readonly entry: L2Entry;
  /** Where the run's first byte stands, or would; 0 when there is no host cluster, or it is compressed. */
  readonly hostOffsetBytes: number;
}

/**
 * The L1 entry that covers a guest offset.
 *
 * @throws ByreError CORRUPT or TRUNCATED when it does not point to a cluster inside the file.
 */
export function findL1(image: Qcow2Image, guestOffsetBytes: number): L1Place {
  const index = Math.floor(guestOffsetBytes / image.l2ReachBytes);
  // A snapshot's L1 table may be shorter than its disk asks for; what is missing is unallocated.
  if (index >= image.l1Entries) return { index, l2OffsetBytes: 0, copied: false };
  const hi = image.l1.getUint32(index * ENTRY_BYTES);
  const lo = image.l1.getUint32(index * ENTRY_BYTES + 4);
  const l2OffsetBytes = decodeTableOffset(hi, lo);
  if (l2OffsetBytes !== 0)
    image.checkClusterOffset(l2OffsetBytes, "L1 entry", image.l1OffsetBytes + index * ENTRY_BYTES);
  return { index, l2OffsetBytes, copied: isCopied(hi) };
}

/** The slice of an L2 table that covers a guest offset; undefined after noting a need. */
export function findEntry(
  image: Qcow2Image,
  l2OffsetBytes: number,
  guestOffsetBytes: number,
  needs: Need[],
): EntryPlace | undefined {
  const inTable = Math.floor(guestOffsetBytes / image.clusterSizeBytes) % image.l2Entries;
  const perSlice = image.tables.sliceBytes / image.entryBytes;
  const index = inTable % perSlice;
  const slice = image.tables.get(l2OffsetBytes + (inTable - index) * image.entryBytes, "L2 table", needs);
  return slice && { slice, index, entriesLeft: perSlice - index };
}

/**
 * The entry at an index of a slice, held against the file.
 *
 * @throws ByreError CORRUPT or TRUNCATED when it points outside the file or into the middle of a cluster, or
 *   says what no entry may say.
 */
export function entryAt(image: Qcow2Image, slice: TableSlice, index: number): L2Entry {
  const at = index * image.entryBytes;
  const { view } = slice;
  const hi = view.getUint32(at);
  const lo = view.getUint32(at + 4);
  const entry = image.extendedL2
    ? decodeExtendedEntry(hi, lo, view.getUint32(at + 8), view.getUint32(at + 12), image.clusterBits)
    : decodeL2Entry(hi, lo, image.clusterBits);
  if (entry.kind === "compressed") {
    if (entry.hostOffsetBytes >= image.file.sizeBytes)
      throw image.corrupt(
        `the compressed cluster at ${entry.hostOffsetBytes} lies past the end of the file, which has ` +
          `${image.file.sizeBytes} bytes`,
        slice.offsetBytes + at,
      );
    return entry;
  }
  checkPlain(image, entry, slice.offsetBytes + at);
  return entry;
}

function checkPlain(image: Qcow2Image, entry: PlainEntry, entryOffsetBytes: number): void {
  const { hostOffsetBytes, allocated, zeros } = entry;
  if (zeros !== 0 && !image.hasZeroClusters)
    throw image.corrupt("the L2 entry has the zero flag, which version 2 does not know", entryOffsetBytes);
  if ((allocated & zeros) !== 0)
    throw image.corrupt("the L2 entry says of a subcluster both data and zeros", entryOffsetBytes);
  if (hostOffsetBytes === 0) {
    if (allocated !== 0)
      throw image.corrupt("the L2 entry has data subclusters and no cluster for them", entryOffsetBytes);
    return;
  }
  if (allocated !== 0) image.checkClusterOffset(hostOffsetBytes, "L2 entry", entryOffsetBytes);
  // A cluster held in reserve may lie past the end of the file: nothing was written to it yet.
  else if (hostOffsetBytes % image.clusterSizeBytes !== 0)
    throw image.corrupt(
      `the L2 entry points to ${hostOffsetBytes}, which is not a cluster's start`,
      entryOffsetBytes,
    );
}

/**
 * How far from a guest offset on bytes are stored alike: of one kind and, data, one after the other in the
 * host file. A compressed cluster is a run of its own.
 *
 * @param maxBytes at least 1; the run is not longer.
 */
export function findRun(
  image: Qcow2Image,
  place: EntryPlace,
  guestOffsetBytes: number,
  maxBytes: number,
): Run {
  const { clusterSizeBytes, subclusterSizeBytes, subclusters } = image;
  const inCluster = guestOffsetBytes % clusterSizeBytes;
  const entry = entryAt(image, place.slice, place.index);
  let subcluster = Math.floor(inCluster / subclusterSizeBytes);
  const kind = subclusterKind(entry, subcluster);
  if (entry.kind === "compressed")
    return {
      kind,
      lengthBytes: Math.min(maxBytes, clusterSizeBytes - inCluster),
      entry,
      hostOffsetBytes: 0,
    };
  const hostOffsetBytes = entry.hostOffsetBytes === 0 ? 0 : entry.hostOffsetBytes + inCluster;
  let lengthBytes = (subcluster + 1) * subclusterSizeBytes - inCluster;
  let current: L2Entry = entry;
  for (let cluster = 0; lengthBytes < maxBytes; lengthBytes += subclusterSizeBytes) {
    subcluster++;
    if (subcluster === subclusters) {
      subcluster = 0;
      cluster++;
      if (cluster >= place.entriesLeft) break;
      current = entryAt(image, place.slice, place.index + cluster);
      if (current.kind === "compressed") break;
      const follows =
        hostOffsetBytes === 0
          ? current.hostOffsetBytes === 0
          : current.hostOffsetBytes === hostOffsetBytes + lengthBytes;
      if (!follows) break;
    }
    if (subclusterKind(current, subcluster) !== kind) break;
  }
  return { kind, lengthBytes: Math.min(lengthBytes, maxBytes), entry, hostOffsetBytes };
}

/** Sets an entry in a slice; the caller writes it through. */
export function setPlainEntry(image: Qcow2Image, place: EntryPlace, i: number, entry: PlainEntry): void {
  const at = (place.index + i) * image.entryBytes;
  const { hi, lo } = encodePlainEntry(entry, !image.extendedL2 && entry.zeros !== 0);
  setEntryHalves(image, place, i, hi, lo);
  if (!image.extendedL2) return;
  place.slice.view.setUint32(at + 8, entry.zeros);
  place.slice.view.setUint32(at + 12, entry.allocated);
}

/** Sets an entry's first half in a slice, with empty bit sets: what a compressed entry has. */
export function setEntryHalves(
  image: Qcow2Image,
  place: EntryPlace,
  i: number,
  hi: number,
  lo: number,
): void {
  const at = (place.index + i) * image.entryBytes;
  place.slice.view.setUint32(at, hi);
  place.slice.view.setUint32(at + 4, lo);
  if (!image.extendedL2) return;
  place.slice.view.setUint32(at + 8, 0);
  place.slice.view.setUint32(at + 12, 0);
}
