import { ByreError } from "../errors.ts";
import type { Qcow2Core } from "./core.ts";
import { ENTRY_BYTES, IncompatibleFeature } from "./format.ts";
import { changeHeader, withFeatureNames } from "./header-edit.ts";
import type { Qcow2Image } from "./image.ts";
import { decodeTableOffset, isCompressed } from "./l2-entry.ts";
import { untilReady } from "./needs.ts";
import { changeRefcountWidth } from "./refcount-width.ts";
import { resize } from "./resize.ts";
import { snapshotTree } from "./snapshot-change.ts";
import { viewOf } from "./u64.ts";

/** Smallest cluster whose header takes the feature-name table beside what else may be there. */
const MIN_NAMES_BYTES = 4096;

/** What an image can be changed into in place. What is left out stays. */
export interface AmendOptions {
  version?: 2 | 3;
  /** 1, 2, 4, 8, 16, 32 or 64. */
  refcountBits?: number;
  lazyRefcounts?: boolean;
  sizeBytes?: number;
  /** Only the name in the header changes. */
  backing?: { name: string; format?: string } | null;
}

/** @param onProgress told how much is done, 0 to 1. */
export async function amend(
  core: Qcow2Core,
  options: AmendOptions,
  onProgress: (fraction: number) => void = () => {},
): Promise<void> {
  const { image } = core;
  const { version, refcountBits, lazyRefcounts, sizeBytes, backing } = options;
  const invalid = (what: string) =>
    new ByreError("INVALID_ARGUMENT", `${image.file.name}: ${what}`, { file: image.file.name });
  const after = version ?? image.header.version;
  const order = refcountBits === undefined ? image.refcountOrder : Math.log2(refcountBits);
  if (!Number.isInteger(order) || order < 0 || order > 6)
    throw invalid(`a refcount width of ${refcountBits} bits is not one of 1, 2, 4, 8, 16, 32, 64.`);
  if (after === 2 && order !== 4) throw invalid("version 2 has refcounts of 16 bits only.");
  if (after === 2 && lazyRefcounts) throw invalid("version 2 has no lazy refcounts.");
  if (after === 2 && image.header.version === 3) await checkDowngrade(image);

  if (after === 3 && image.header.version === 2)
    await changeHeader(core, {
      version: 3,
      // Feature names are a courtesy; the smallest clusters have no room for them.
      ...(image.clusterSizeBytes >= MIN_NAMES_BYTES && { extensions: withFeatureNames }),
    });
  if (order !== image.refcountOrder) await changeRefcountWidth(core, order, onProgress);
  if (backing !== undefined || (lazyRefcounts !== undefined && after === 3))
    await changeHeader(core, {
      ...(backing !== undefined && { backing }),
      ...(lazyRefcounts !== undefined && { lazyRefcounts }),
    });
  if (sizeBytes !== undefined) await resize(core, sizeBytes, { shrink: true });
  if (after === 2 && image.header.version === 3) {
    await expandZeros(core, onProgress);
    await core.flush();
    await changeHeader(core, { version: 2, extensions: (present) => present });
  }
  onProgress(1);
}

async function checkDowngrade(image: Qcow2Image): Promise<void> {
  const refuse = (what: string) =>
    new ByreError("UNSUPPORTED_FEATURE", `${image.file.name}: ${what}`, { file: image.file.name });
  const dirty = 1n << BigInt(IncompatibleFeature.DIRTY);
  if ((image.header.incompatibleFeatures & ~dirty) !== 0n)
    throw refuse("Cannot downgrade an image with incompatible features set.");
  for (const snapshot of image.snapshots) {
    if (snapshot.diskBytes !== image.header.sizeBytes)
      throw refuse(`the snapshot "${snapshot.name}" has another disk size, which version 2 cannot tell.`);
    const { l1, l1OffsetBytes } = await snapshotTree(image, snapshot);
    if (await hasZeroClusters(image, l1, l1OffsetBytes))
      throw refuse(
        `the snapshot "${snapshot.name}" has zero clusters, which version 2 does not know. Delete it, or convert ` +
          "the image.",
      );
  }
}

async function hasZeroClusters(image: Qcow2Image, l1: DataView, l1OffsetBytes: number): Promise<boolean> {
  const table = new Uint8Array(image.clusterSizeBytes);
  const view = viewOf(table);
  for (let at = 0; at < l1.byteLength; at += ENTRY_BYTES) {
    const offset = decodeTableOffset(l1.getUint32(at), l1.getUint32(at + 4));
    if (offset === 0) continue;
    image.checkClusterOffset(offset, "L1 entry", l1OffsetBytes + at);
    await image.file.read(offset, table);
    for (let entryAt = 0; entryAt < table.length; entryAt += ENTRY_BYTES)
      if (!isCompressed(view.getUint32(entryAt)) && view.getUint32(entryAt + 4) & 1) return true;
  }
  return false;
}

/** Zero clusters become unallocated where nothing is behind the image, and data elsewhere. */
async function expandZeros(core: Qcow2Core, onProgress: (fraction: number) => void): Promise<void> {
  const { image, reader, writer, zeros } = core;
  const { sizeBytes } = image.header;
  const zeroBytes = new Uint8Array(image.clusterSizeBytes);
  for (let at = 0; at < sizeBytes; onProgress(at / sizeBytes)) {
    const run = await untilReady((needs) => reader.tryFindRun(at, sizeBytes - at, needs));
    const end = at + run.lengthBytes;
    if (run.kind !== "zero") at = end;
    while (at < end)
      at += await untilReady((needs) =>
        reader.hasNothingBehind(at)
          ? zeros.tryDiscardRun(at, end - at, true, needs)
          : writer.tryWriteRun(at, zeroBytes.subarray(0, end - at), needs),
      );
  }
}
