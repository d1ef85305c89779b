import { WriteStage } from "../block-file.ts";
import { ByreError } from "../errors.ts";
import { encodeActiveFields, runBulkChange } from "./bulk-change.ts";
import type { Qcow2Core } from "./core.ts";
import { ENTRY_BYTES, ExtensionMagic, MAX_L1_BYTES, SECTOR_BYTES } from "./format.ts";
import { decodeTableOffset } from "./l2-entry.ts";
import { type Need, untilReady } from "./needs.ts";
import { preallocate } from "./preallocate.ts";
import { bytesOf, viewOf } from "./u64.ts";

export interface ResizeOptions {
  /** A smaller disk loses what lies past its new end: it must be asked for. */
  shrink?: boolean;
  /** Room for what is added. "falloc" and "full" also write it. */
  preallocation?: "off" | "metadata" | "falloc" | "full";
}

/** Changes the virtual size of an image. What is added reads as zeros, whatever is behind the image. */
export async function resize(core: Qcow2Core, sizeBytes: number, options: ResizeOptions = {}): Promise<void> {
  const { image } = core;
  const { file, header } = image;
  const oldBytes = header.sizeBytes;
  const refuse = (code: "INVALID_ARGUMENT" | "UNSUPPORTED_FEATURE" | "TOO_LARGE", what: string) =>
    new ByreError(code, `${file.name}: ${what}`, { file: file.name, sizeBytes, oldSizeBytes: oldBytes });
  if (!Number.isSafeInteger(sizeBytes) || sizeBytes < 0 || sizeBytes % SECTOR_BYTES !== 0)
    throw refuse(
      "INVALID_ARGUMENT",
      `a disk of ${sizeBytes} bytes cannot be made: its size is a multiple of 512.`,
    );
  if (image.snapshots.length > 0 && header.version < 3)
    throw refuse("UNSUPPORTED_FEATURE", "can't resize a version 2 image which has snapshots.");
  if (header.extensions.some(({ magic }) => magic === ExtensionMagic.BITMAPS))
    throw refuse("UNSUPPORTED_FEATURE", "it has bitmaps, which would no longer fit. Remove them first.");
  if (sizeBytes < oldBytes && !options.shrink)
    throw refuse(
      "INVALID_ARGUMENT",
      "shrinking an image deletes all data beyond the shrunken image's end. Ask for it (--shrink).",
    );
  const l1Entries = Math.ceil(sizeBytes / image.l2ReachBytes);
  if (l1Entries * ENTRY_BYTES > MAX_L1_BYTES)
    throw refuse(
      "TOO_LARGE",
      `a disk of ${sizeBytes} bytes is too large for clusters of ${image.clusterSizeBytes} bytes.`,
    );
  await core.flush();
  if (sizeBytes < oldBytes) await shrink(core, sizeBytes);
  else if (sizeBytes > oldBytes) await grow(core, sizeBytes, l1Entries, options.preallocation ?? "off");
  await core.flush();
}

async function grow(
  core: Qcow2Core,
  sizeBytes: number,
  l1Entries: number,
  preallocation: NonNullable<ResizeOptions["preallocation"]>,
): Promise<void> {
  const { image } = core;
  const oldBytes = image.header.sizeBytes;
  if (l1Entries > image.l1Entries) await growL1(core, l1Entries);
  await zeroPastEnd(core, sizeBytes);
  await setSize(core, sizeBytes);
  if (preallocation !== "off") await preallocate(core, oldBytes, sizeBytes, preallocation !== "metadata");
}

/** A longer L1 table, in clusters of its own; the header then points to it. */
export async function growL1(core: Qcow2Core, l1Entries: number): Promise<void> {
  const { image } = core;
  await runBulkChange(core, async () => {
    const { sizeBytes } = image.header;
    const l1 = new Uint8Array(l1Entries * ENTRY_BYTES);
    l1.set(bytesOf(image.l1));
    const count = Math.ceil(l1.length / image.clusterSizeBytes);
    const [clusterIndex = 0] = await untilReady((needs) => core.allocator.findFree(count, needs, true));
    const l1OffsetBytes = clusterIndex * image.clusterSizeBytes;
    return {
      change: {
        added: [],
        removed: [],
        // Its flags are right as they are; nothing is shared that was not.
        active: { l1: viewOf(new Uint8Array(0)), l1OffsetBytes },
        tables: [{ bytes: l1, clusterIndex }],
        releasedTables: [{ offsetBytes: image.l1OffsetBytes, lengthBytes: image.l1.byteLength }],
        header: [encodeActiveFields(image, { sizeBytes, l1Entries, l1OffsetBytes })],
        applied: () => image.setActive(l1, l1OffsetBytes, sizeBytes),
      },
      result: undefined,
    };
  });
}

/**
 * Sees to it that what is added reads as zeros: the rest of the last cluster, VM state that a snapshot left
 * there, and what a longer image behind this one would show.
 */
async function zeroPastEnd(core: Qcow2Core, sizeBytes: number): Promise<void> {
  const { image, zeros, writer, backing } = core;
  const oldBytes = image.header.sizeBytes;
  const { clusterSizeBytes } = image;
  const nextCluster = Math.ceil(oldBytes / clusterSizeBytes) * clusterSizeBytes;
  const edge = Math.min(sizeBytes, nextCluster);
  const behind = Math.min(sizeBytes, backing?.sizeBytes ?? 0);
  // The rest of the last cluster may be stored in parts, subcluster by subcluster.
  for (let at = oldBytes; at < edge; ) {
    const run = await untilReady((needs) => core.reader.tryFindRun(at, edge - at, needs));
    const end = at + run.lengthBytes;
    const shows = run.kind === "data" || run.kind === "compressed";
    if (!shows && (run.kind === "zero" || behind <= at)) at = end;
    while (at < end)
      at += await untilReady((needs) => writer.tryWriteRun(at, new Uint8Array(end - at), needs));
  }
  // Letting go shows what is behind; where something is, zeros are said.
  const end = Math.ceil(sizeBytes / clusterSizeBytes) * clusterSizeBytes;
  const step = async (
    attempt: (at: number, needs: Need[]) => number | undefined,
    from: number,
    to: number,
  ) => {
    for (let at = from; at < to; ) at += await untilReady((needs) => attempt(at, needs));
  };
  // Only clusters that the disk had no part of: the last one it had is kept, also when the new end is in it.
  await step((at, needs) => zeros.tryDiscardRun(at, end - at, true, needs), nextCluster, end);
  const behindEnd = Math.min(end, Math.ceil(behind / clusterSizeBytes) * clusterSizeBytes);
  await step((at, needs) => zeros.tryZeroRun(at, behindEnd - at, true, needs), nextCluster, behindEnd);
}

async function setSize(core: Qcow2Core, sizeBytes: number): Promise<void> {
  const { image } = core;
  const { l1Entries, l1OffsetBytes } = image;
  const { fieldBytes, bytes } = encodeActiveFields(image, { sizeBytes, l1Entries, l1OffsetBytes });
  // What is told of the new size must be in the file before the size is.
  if (!image.file.transactional) await core.flush();
  await untilReady((needs) => {
    image.tables.checkWritable(fieldBytes, bytes.length, needs);
    if (needs.length > 0) return undefined;
    image.file.write(fieldBytes, bytes, WriteStage.HEADER);
    image.header = { ...image.header, sizeBytes };
    return true;
  });
}

async function shrink(core: Qcow2Core, sizeBytes: number): Promise<void> {
  const { image, zeros } = core;
  const { clusterSizeBytes } = image;
  const oldBytes = image.header.sizeBytes;
  const start = Math.ceil(sizeBytes / clusterSizeBytes) * clusterSizeBytes;
  // The size goes first: nothing of what is let go may be part of the disk any more.
  await setSize(core, sizeBytes);
  await core.flush();
  for (let at = start; at < oldBytes; )
    at += await untilReady((needs) => zeros.tryDiscardRun(at, oldBytes - at, true, needs));
  await dropL2Tables(
    core,
    Math.ceil(sizeBytes / image.l2ReachBytes),
    Math.ceil(oldBytes / image.l2ReachBytes),
  );
  await core.flush();
  await truncateFile(core);
}

/** Lets go of L2 tables that the disk no longer reaches. They are empty by now. */
async function dropL2Tables(core: Qcow2Core, from: number, to: number): Promise<void> {
  const { image, allocator } = core;
  for (let index = from; index < Math.min(to, image.l1Entries); index++)
    await untilReady((needs) => {
      if (!core.entries.mayChange(needs)) return undefined;
      const hi = image.l1.getUint32(index * ENTRY_BYTES);
      const offset = decodeTableOffset(hi, image.l1.getUint32(index * ENTRY_BYTES + 4));
      if (offset === 0) return true;
      const changes = new Map([[offset / image.clusterSizeBytes, -1]]);
      allocator.check(changes, needs);
      image.canSetL1(index, needs);
      if (needs.length > 0) return undefined;
      image.setL1(index, 0, 0);
      image.metadata.delete(offset / image.clusterSizeBytes);
      allocator.apply(changes);
      return true;
    });
}

/** Cuts off what the file has after its last cluster in use. */
export async function truncateFile(core: Qcow2Core): Promise<void> {
  const { image, allocator } = core;
  await untilReady((needs) => {
    const end = allocator.findEnd(needs);
    if (end === undefined) return undefined;
    const endBytes = end * image.clusterSizeBytes;
    if (endBytes < image.file.sizeBytes) image.file.truncate(endBytes);
    return true;
  });
}
