import { WriteStage } from "../block-file.ts";
import { ByreError } from "../errors.ts";
import type { Qcow2Core } from "./core.ts";
import { addTree, CountDeltas } from "./count-deltas.ts";
import { ENTRY_BYTES, HeaderField, IncompatibleFeature } from "./format.ts";
import { hasIncompatible } from "./header.ts";
import type { Qcow2Image } from "./image.ts";
import { decodeTableOffset, isCompressed, isCopied } from "./l2-entry.ts";
import { untilReady } from "./needs.ts";
import { maxRefcount, readRefcount, refcountBytes, writeRefcount } from "./refcount-entry.ts";
import { TablePatch } from "./table-patch.ts";
import { bytesOf, viewOf } from "./u64.ts";

const DIRTY_BIT = 1n << BigInt(IncompatibleFeature.DIRTY);

/** A tree of tables that an image refers to: the active one, or a snapshot's. */
export interface TableTree {
  readonly l1: DataView;
  readonly l1OffsetBytes: number;
}

/** New bytes in clusters of their own. */
export interface NewTable {
  readonly bytes: Uint8Array;
  /** First cluster, found free. */
  readonly clusterIndex: number;
}

/** A change of what the image refers to as a whole: snapshots come and go, the active tables are replaced. */
export interface BulkChange {
  /** Trees that are referred to once more. */
  readonly added: readonly TableTree[];
  /** Trees that are referred to once less. */
  readonly removed: readonly TableTree[];
  /** Tables that are written to free clusters. */
  readonly tables: readonly NewTable[];
  /** Tables that are no longer referred to. */
  readonly releasedTables: readonly { offsetBytes: number; lengthBytes: number }[];
  /** Bytes of the header from a field on, all within its first 512: they take effect at once. */
  readonly header: readonly { fieldBytes: number; bytes: Uint8Array }[];
  /** The active tree as it will be: its COPIED flags are made right. */
  readonly active: TableTree;
  /** Takes the change over in memory, in the same turn in which it is written. */
  applied(): void;
}

/**
 * Does work on an image that does not change under it: guest writes wait meanwhile, reads go on. One at a time.
 */
export async function alone<Result>(core: Qcow2Core, work: () => Promise<Result>): Promise<Result> {
  const { entries } = core;
  const before = core.bulk.last;
  let over = () => {};
  core.bulk.last = new Promise((resolve) => {
    over = resolve;
  });
  let release = () => {};
  try {
    await before;
    await entries.prepareNow();
    release = entries.hold();
    return await work();
  } finally {
    release();
    over();
  }
}

/**
 * Runs a change that touches every count of a tree.
 *
 * Everything that can fail is done on copies first. A file with transactions then has the whole change at
 * once, and when it cannot be flushed the image in memory is what it was. On a plain file it is two flushes, each in the order of the stages: first what adds references and
 * takes COPIED flags away, with the header last; then what lets go. A crash leaves an image whose every byte
 * is right and whose counts are too high in places; the dirty bit, set around the change where the version
 * has it, makes the next program repair them.
 *
 * @param plan looks at the image, which does not change under it, and says what to change.
 * @param options deferFlush: a file with transactions is not flushed; the next flush of anybody's makes the change
 *   durable.
 */
export async function runBulkChange<Result>(
  core: Qcow2Core,
  plan: () => Promise<{ change: BulkChange; result: Result }>,
  options: { deferFlush?: boolean } = {},
): Promise<Result> {
  return alone(core, async () => {
    const { image } = core;
    const both = image.file.transactional;
    // What waits to be let go must be counted before counts are looked at.
    if (!both) await core.flush();
    const { change, result } = await plan();
    const deltas = new CountDeltas();
    for (const { l1, l1OffsetBytes } of change.added) await addTree(image, l1, l1OffsetBytes, 1, deltas);
    for (const { l1, l1OffsetBytes } of change.removed) await addTree(image, l1, l1OffsetBytes, -1, deltas);
    const { clusterSizeBytes } = image;
    for (const { bytes, clusterIndex } of change.tables)
      for (let i = 0; i * clusterSizeBytes < bytes.length; i++) deltas.add(clusterIndex + i, 1);
    for (const { offsetBytes, lengthBytes } of change.releasedTables)
      for (let i = 0; i * clusterSizeBytes < lengthBytes; i++)
        deltas.add(offsetBytes / clusterSizeBytes + i, -1);

    const first = new PlannedPatch(image, deltas);
    await first.plan(change, change.active, { raise: true, lower: both });
    const dirty = !both && image.hasZeroClusters;
    if (dirty) await setDirty(image);
    const replaced = await untilReady((needs) => {
      if (!first.patch.tryApply(needs)) return undefined;
      const fields = image.activeFields();
      change.applied();
      first.applyToL1(true);
      forget(core);
      return fields;
    });
    // Should the flush fail, a later one that succeeds lets go too.
    if (!both) core.unfinished.push(() => letGo(core, deltas, change.active));
    if (dirty) core.unfinished.push(() => clearDirty(image));
    if (both && options.deferFlush) return result;
    try {
      await core.flush();
    } catch (error) {
      if (both) {
        first.patch.revert();
        first.applyToL1(false);
        image.restoreActiveFields(replaced);
        forget(core);
      }
      throw error;
    }
    return result;
  });
}

/** The second half on a plain file, once the first is durable: counts fall, COPIED flags are set. */
async function letGo(core: Qcow2Core, deltas: CountDeltas, active: TableTree): Promise<void> {
  const { image } = core;
  const second = new PlannedPatch(image, deltas);
  // The flags of the table as it is now: guest writes may have come between.
  const l1 = bytesOf(image.l1).slice();
  const now = active.l1.byteLength === 0 ? active : { l1: viewOf(l1), l1OffsetBytes: image.l1OffsetBytes };
  await second.plan(undefined, now, { raise: false, lower: true });
  await untilReady((needs) => {
    if (!second.patch.tryApply(needs)) return undefined;
    second.applyToL1(true);
    forget(core);
    return true;
  });
}

/** Once what was let go is durable too, the counts are right. */
async function clearDirty(image: Qcow2Image): Promise<void> {
  await image.whenHeaderReady(() =>
    image.setIncompatibleFeatures(image.header.incompatibleFeatures & ~DIRTY_BIT),
  );
}

/** What is kept in memory of tables and counts is read again. */
function forget({ image, allocator, packers, reader }: Qcow2Core): void {
  image.forgetStructures();
  allocator.forgetCounts();
  for (const packer of packers) packer.leaveAll();
  reader.forgetAllUnpacked();
}

async function setDirty(image: Qcow2Image): Promise<void> {
  if (hasIncompatible(image.header, IncompatibleFeature.DIRTY)) return;
  await image.whenHeaderReady(() =>
    image.setIncompatibleFeatures(image.header.incompatibleFeatures | DIRTY_BIT),
  );
  try {
    await image.file.flush();
  } catch (error) {
    // It must be durable before anything that relies on it.
    image.setIncompatibleFeatures(image.header.incompatibleFeatures & ~DIRTY_BIT);
    throw error;
  }
}

/** A patch of counts, flags, tables and header. */
class PlannedPatch {
  readonly patch: TablePatch;
  /** COPIED flags of the active L1 table, to be taken over in memory with the patch. */
  private readonly l1Flags: { at: number; copied: boolean }[] = [];

  constructor(
    private readonly image: Qcow2Image,
    private readonly deltas: CountDeltas,
  ) {
    this.patch = new TablePatch(image.file, image.clusterSizeBytes);
  }

  /**
   * @param change what is written when references are added; undefined in the second half.
   * @param parts raise: what adds references. lower: what lets go. Both, where that is safe at once.
   */
  async plan(
    change: BulkChange | undefined,
    active: TableTree,
    parts: { raise: boolean; lower: boolean },
  ): Promise<void> {
    const { image, patch } = this;
    for (const [index, delta] of this.deltas.changes())
      if (delta > 0 ? parts.raise : parts.lower) await this.addCount(index, delta);
    for (const { bytes, clusterIndex } of change?.tables ?? [])
      await patch.put(clusterIndex * image.clusterSizeBytes, bytes, WriteStage.DATA);
    await this.fixFlags(active, parts);
    if (!change) return;
    for (const { fieldBytes, bytes } of change.header) await patch.put(fieldBytes, bytes, WriteStage.HEADER);
  }

  /** @param done false takes it back. */
  applyToL1(done: boolean): void {
    for (const { at, copied } of this.l1Flags) setCopied(this.image.l1, at, copied === done);
  }

  private async addCount(index: number, delta: number): Promise<void> {
    const { image, patch } = this;
    const { blockOffset, inBlock } = await this.findBlock(index);
    const block = patch.bytes(blockOffset, image.clusterSizeBytes);
    const before = readRefcount(block, inBlock, image.refcountOrder);
    const after = before + delta;
    const { start, end } = refcountBytes(inBlock, image.refcountOrder);
    if (after < 0)
      throw image.corrupt(
        `the refcount of cluster ${index} is ${before}, and would become ${after}`,
        blockOffset + start,
      );
    if (after > maxRefcount(image.refcountOrder))
      throw new ByreError(
        "UNSUPPORTED_FEATURE",
        `${image.file.name} has refcounts of ${2 ** image.refcountOrder} bits, and cluster ${index} would be ` +
          `referred to ${after} times. Convert or amend it to wider refcounts first.`,
        {
          file: image.file.name,
          clusterIndex: index,
          refcount: after,
          refcountBits: 2 ** image.refcountOrder,
        },
      );
    writeRefcount(block, inBlock, image.refcountOrder, after);
    patch.mark(blockOffset + start, end - start, WriteStage.REFCOUNT_BLOCK);
  }

  /** COPIED flags of the active tree: set exactly where the count is 1. */
  private async fixFlags(active: TableTree, parts: { raise: boolean; lower: boolean }): Promise<void> {
    const { image, patch } = this;
    const { clusterSizeBytes, entryBytes } = image;
    const { l1, l1OffsetBytes } = active;
    await patch.load(l1OffsetBytes, l1.byteLength);
    const scratch = new Uint8Array(clusterSizeBytes);
    for (let at = 0; at < l1.byteLength; at += ENTRY_BYTES) {
      const l2Offset = decodeTableOffset(l1.getUint32(at), l1.getUint32(at + 4));
      if (l2Offset === 0) continue;
      const wanted = await this.wantsFlag(l1.getUint32(at), l2Offset, parts);
      if (wanted !== undefined) {
        const entry = patch.bytes(l1OffsetBytes + at, ENTRY_BYTES);
        setCopied(viewOf(entry), 0, wanted);
        this.l1Flags.push({ at, copied: wanted });
        patch.mark(l1OffsetBytes + at, ENTRY_BYTES, WriteStage.L1);
      }
      // Most tables need no change after the first snapshot: only those that do are kept.
      let table = patch.isLoaded(l2Offset) ? patch.bytes(l2Offset, clusterSizeBytes) : undefined;
      if (!table) await image.file.read(l2Offset, scratch);
      let view = viewOf(table ?? scratch);
      for (let entryAt = 0; entryAt < clusterSizeBytes; entryAt += entryBytes) {
        const hi = view.getUint32(entryAt);
        // Compressed clusters have no such flag.
        if (isCompressed(hi)) continue;
        const hostOffset = decodeTableOffset(hi, view.getUint32(entryAt + 4));
        if (hostOffset === 0) continue;
        const wantedHere = await this.wantsFlag(hi, hostOffset, parts);
        if (wantedHere === undefined) continue;
        if (!table) {
          await patch.load(l2Offset, clusterSizeBytes);
          table = patch.bytes(l2Offset, clusterSizeBytes);
          view = viewOf(table);
        }
        setCopied(view, entryAt, wantedHere);
        patch.mark(l2Offset + entryAt, ENTRY_BYTES, WriteStage.L2);
      }
    }
  }

  /** What the flag is to become in this patch; undefined when it stays. */
  private async wantsFlag(
    hi: number,
    hostOffsetBytes: number,
    parts: { raise: boolean; lower: boolean },
  ): Promise<boolean | undefined> {
    const index = hostOffsetBytes / this.image.clusterSizeBytes;
    const { blockOffset, inBlock } = await this.findBlock(index);
    const block = this.patch.bytes(blockOffset, this.image.clusterSizeBytes);
    const wanted = readRefcount(block, inBlock, this.image.refcountOrder) === 1;
    if (wanted === isCopied(hi)) return undefined;
    return (wanted ? parts.lower : parts.raise) ? wanted : undefined;
  }

  /** Loads the refcount block of a cluster into the patch. */
  private async findBlock(index: number): Promise<{ blockOffset: number; inBlock: number }> {
    const { image, patch } = this;
    const {
      blockOffsetBytes: blockOffset,
      indexInBlock: inBlock,
      entryOffsetBytes,
    } = image.findRefcountBlock(index);
    if (blockOffset === 0)
      throw image.corrupt(`cluster ${index} is used but no refcount block counts it`, entryOffsetBytes);
    if (!patch.isLoaded(blockOffset)) await patch.load(blockOffset, image.clusterSizeBytes);
    return { blockOffset, inBlock };
  }
}

function setCopied(view: DataView, at: number, copied: boolean): void {
  const hi = view.getUint32(at);
  view.setUint32(at, copied ? (hi | 0x80000000) >>> 0 : hi & 0x7fffffff);
}

/** Bytes of the header that point to the active L1 table, from the virtual size on, and what they say. */
export function encodeActiveFields(
  image: Qcow2Image,
  fields: { sizeBytes: number; l1Entries: number; l1OffsetBytes: number },
): { fieldBytes: number; bytes: Uint8Array } {
  const bytes = new Uint8Array(HeaderField.L1_OFFSET + 8 - HeaderField.SIZE);
  const view = viewOf(bytes);
  view.setBigUint64(0, BigInt(fields.sizeBytes));
  view.setUint32(HeaderField.CRYPT_METHOD - HeaderField.SIZE, image.header.cryptMethod);
  view.setUint32(HeaderField.L1_SIZE - HeaderField.SIZE, fields.l1Entries);
  view.setBigUint64(HeaderField.L1_OFFSET - HeaderField.SIZE, BigInt(fields.l1OffsetBytes));
  return { fieldBytes: HeaderField.SIZE, bytes };
}
