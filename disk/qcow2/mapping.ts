import { ENTRY_BYTES } from "./format.ts";
import type { Qcow2Image } from "./image.ts";
import { decodeL2Entry, decodeTableOffset, isCopied, type L2Entry } from "./l2-entry.ts";
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

/**
 * The L1 entry that covers a guest offset.
 *
 * @throws ByreError CORRUPT or TRUNCATED when it does not point to a cluster inside the file.
 */
export function findL1(image: Qcow2Image, guestOffsetBytes: number): L1Place {
  const index = Math.floor(guestOffsetBytes / (image.clusterSizeBytes * image.l2Entries));
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
  const perSlice = image.tables.sliceBytes / ENTRY_BYTES;
  const index = inTable % perSlice;
  const slice = image.tables.get(l2OffsetBytes + (inTable - index) * ENTRY_BYTES, "L2 table", needs);
  return slice && { slice, index, entriesLeft: perSlice - index };
}

/**
 * The entry at an index of a slice, held against the file.
 *
 * @throws ByreError CORRUPT or TRUNCATED when it points outside the file or into the middle of a cluster.
 */
export function entryAt(image: Qcow2Image, slice: TableSlice, index: number): L2Entry {
  const at = index * ENTRY_BYTES;
  const entry = decodeL2Entry(
    slice.view.getUint32(at),
    slice.view.getUint32(at + 4),
    image.clusterBits,
    image.hasZeroClusters,
  );
  if (entry.kind === "data")
    image.checkClusterOffset(entry.hostOffsetBytes, "L2 entry", slice.offsetBytes + at);
  else if (entry.kind === "zero" && entry.hostOffsetBytes !== undefined) {
    // A cluster held in reserve may lie past the end of the file: nothing was written to it yet.
    if (entry.hostOffsetBytes % image.clusterSizeBytes !== 0)
      throw image.corrupt(
        `the L2 entry points to ${entry.hostOffsetBytes}, which is not a cluster's start`,
        slice.offsetBytes + at,
      );
  } else if (entry.kind === "compressed" && entry.hostOffsetBytes >= image.file.sizeBytes)
    throw image.corrupt(
      `the compressed cluster at ${entry.hostOffsetBytes} lies past the end of the file, which has ` +
        `${image.file.sizeBytes} bytes`,
      slice.offsetBytes + at,
    );
  return entry;
}
