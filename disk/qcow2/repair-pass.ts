import { WriteStage } from "../block-file.ts";
import { ReferenceCounter } from "./check-counter.ts";
import type { CheckedImage } from "./check-image.ts";
import type { L1Check } from "./check-l1.ts";
import { Metadata, mapMetadata } from "./check-overlap.ts";
import { type Comparison, compareCounts, countClusters, countLine } from "./check-pass.ts";
import { readStoredCounts, refcountBlockOffset, type StoredCounts } from "./check-refcounts.ts";
import { countReferences, MAX_CLUSTERS, type ReferenceFindings } from "./check-references.ts";
import { type CheckedSnapshots, readSnapshotsForCheck } from "./check-snapshots.ts";
import { addTally, type CheckContext, checkFailed, createTally, type Tally } from "./check-tally.ts";
import { ENTRY_BYTES } from "./format.ts";
import { repairCopiedFlags } from "./repair-copied.ts";
import { rebuildRefcounts } from "./repair-rebuild.ts";
import { writeRefcounts } from "./repair-refcounts.ts";
import {
  changeRun,
  cutSnapshotCount,
  findCountedRun,
  renewSnapshotTable,
  writeSnapshotTable,
} from "./repair-snapshots.ts";
import { clearDamageBits, clearUnknownAutoclear, RepairWriter } from "./repair-writer.ts";

/**
 * One pass of checking that repairs what `context.mode` allows, in QEMU's order: snapshot table as far as
 * counting needs it, refcounts, COPIED flags, the rest of the snapshot table; then the dirty and corrupt
 * bits, when nothing is left.
 *
 * @returns what was found, what was repaired, and what is left.
 * @throws ByreError CHECK_FAILED when it cannot go on; what was repaired until then stays. READ_ONLY.
 */
export async function repairPass(image: CheckedImage, context: CheckContext): Promise<Tally> {
  const writer = new RepairWriter(image.file);
  const snapshotTally = createTally();
  const snapshots = await readSnapshotsForCheck(image, snapshotTally, context);
  const renewed =
    snapshotTally.corruptions > 0 && context.mode === "all"
      ? await renewSnapshotTable(image, snapshots)
      : undefined;
  await clearUnknownAutoclear(writer, image);
  if (snapshots.dropped > 0) await cutSnapshotCount(writer, image, snapshots.count);

  const tally = createTally();
  const clusters = countClusters(image, tally);
  let stored = await readStoredCounts(image, clusters);
  const counter = new ReferenceCounter(image, tally, context.report);
  const check: L1Check = {
    image,
    counter,
    tally,
    context,
    stored: undefined,
    writeEntry:
      context.mode === "all" ? await entryWriter(writer, image, snapshots, tally, context) : undefined,
  };
  const findings = await countReferences(check, snapshots);
  await writer.flush();
  const uncounted = outsideBlocksUncounted(image, stored, findings, tally, context);
  const compared = compareCounts(image, stored, counter, context);
  const mustRebuild = findings.rebuild || compared.rebuild || uncounted;
  tally.imageEndOffset = compared.endOffset;
  if (mustRebuild && context.mode === "all") {
    stored = await rebuild(writer, check, snapshots, compared);
  } else if (mustRebuild) {
    tally.checkErrors++;
    context.report?.("ERROR need to rebuild refcount structures");
    throw checkFailed(
      image.file.name,
      "its refcount structures must be rebuilt (-r all)",
      "Input/output error",
    );
  } else {
    tally.checkErrors += compared.checkErrors;
    await repairCounts(writer, check, stored, compared);
    await dropOutsideBlocks(writer, image, stored, findings);
  }

  const sound = tally.checkErrors === 0 && tally.corruptions === 0 && tally.leaks === 0;
  await repairCopiedFlags(
    writer,
    image,
    stored,
    await mapMetadata(image, snapshots),
    context.mode === "all" || sound,
    tally,
    context,
  );
  if (renewed) {
    await repairSnapshotTable(writer, check, snapshots, renewed, stored);
    snapshotTally.corruptionsFixed += snapshotTally.corruptions;
    snapshotTally.corruptions = 0;
  }
  addTally(tally, snapshotTally);
  if (tally.checkErrors === 0 && tally.corruptions === 0) await clearDamageBits(writer, image);
  return tally;
}

/** Writes single L2 entries, but not over other metadata. */
async function entryWriter(
  writer: RepairWriter,
  image: CheckedImage,
  snapshots: CheckedSnapshots,
  tally: Tally,
  context: CheckContext,
): Promise<NonNullable<L1Check["writeEntry"]>> {
  const metadata = await mapMetadata(image, snapshots);
  return async (tableOffset, active, at, entry) => {
    if (metadata.overlaps(tableOffset + at, entry.length, active ? Metadata.ACTIVE_L2 : 0)) {
      tally.checkErrors++;
      context.report?.("ERROR: Overlap check failed");
      throw checkFailed(
        image.file.name,
        `the L2 table at offset ${tableOffset} lies over other metadata and cannot be written`,
        "Input/output error",
      );
    }
    await writer.put(tableOffset + at, entry, WriteStage.L2);
  };
}

/**
 * A refcount block past the end of the file reads as zeros, so it can only be dropped. QEMU lets the file
 * grow to where it says instead; what is counted stays the same.
 *
 * @returns whether one of them is not counted itself, which makes QEMU rebuild.
 */
function outsideBlocksUncounted(
  image: CheckedImage,
  stored: StoredCounts,
  findings: ReferenceFindings,
  tally: Tally,
  context: CheckContext,
): boolean {
  let uncounted = false;
  for (const index of findings.outsideBlocks) {
    const cluster = refcountBlockOffset(image, index) / image.clusterSizeBytes;
    if (stored.countOf(cluster) !== 0) continue;
    uncounted = true;
    tally.corruptionsFixed++;
    context.report?.(countLine("ERROR", cluster, "0", 1));
  }
  return uncounted;
}

/** Takes blocks past the end of the file out of the refcount table, and lets go of their clusters. */
async function dropOutsideBlocks(
  writer: RepairWriter,
  image: CheckedImage,
  stored: StoredCounts,
  findings: ReferenceFindings,
): Promise<void> {
  if (findings.outsideBlocks.length === 0) return;
  const released: number[] = [];
  for (const index of findings.outsideBlocks) {
    const cluster = refcountBlockOffset(image, index) / image.clusterSizeBytes;
    if (stored.counts.get(cluster) > 0) released.push(cluster);
    stored.counts.set(cluster, 0);
    const at = index * ENTRY_BYTES;
    image.refcountTable.setUint32(at, 0);
    image.refcountTable.setUint32(at + 4, 0);
    const place = image.refcountTableOffsetBytes + at;
    await writer.put(place, new Uint8Array(ENTRY_BYTES), WriteStage.REFCOUNT_TABLE);
  }
  await writer.flush();
  await writeRefcounts(writer, image, Float64Array.from(released).sort(), stored.counts);
}

/** Sets the stored refcounts to the references, as far as the mode allows. */
async function repairCounts(
  writer: RepairWriter,
  check: L1Check,
  stored: StoredCounts,
  compared: Comparison,
): Promise<void> {
  const { image, counter, tally, context } = check;
  const fixable: number[] = [];
  for (const cluster of compared.differing) {
    const count = stored.counts.get(cluster);
    const references = counter.counts.get(cluster);
    const leak = count > references;
    const repair = leak || context.mode === "all";
    const text = stored.print(cluster, count);
    context.report?.(countLine(repair ? "Repairing" : "ERROR", cluster, text, references));
    if (!repair) {
      tally.corruptions++;
      continue;
    }
    if (leak) tally.leaksFixed++;
    else tally.corruptionsFixed++;
    fixable.push(cluster);
    stored.counts.set(cluster, references);
  }
  await writeRefcounts(writer, image, fixable, stored.counts);
}

/**
 * Makes new refcount structures from the references, counts again with them, and frees the old ones.
 *
 * @returns the stored counts as they are then.
 */
async function rebuild(
  writer: RepairWriter,
  check: L1Check,
  snapshots: CheckedSnapshots,
  compared: Comparison,
): Promise<StoredCounts> {
  const { image, counter, tally, context } = check;
  const found = { corruptions: tally.corruptions + compared.corruptions, leaks: compared.leaks };
  context.report?.("Rebuilding refcount structure");
  const clusters = await rebuildRefcounts(writer, image, counter.counts, counter.clusters);
  // Counts that could not be read before can be now.
  tally.corruptions = 0;
  const { stored, endOffset } = await settle(writer, check, snapshots, clusters);
  tally.imageEndOffset = endOffset;
  tally.corruptionsFixed += Math.max(0, found.corruptions - tally.corruptions);
  tally.leaksFixed += found.leaks;
  return stored;
}

/** Counts the references again and frees what the old refcount structures took. */
async function settle(
  writer: RepairWriter,
  check: L1Check,
  snapshots: CheckedSnapshots,
  clusters: number,
): Promise<{ stored: StoredCounts; endOffset: number }> {
  const { image, tally, context } = check;
  const counter = new ReferenceCounter(image, tally, context.report, clusters);
  await countReferences({ ...check, counter, writeEntry: undefined }, snapshots);
  const stored = await readStoredCounts(image, counter.clusters);
  const silent = { ...context, report: undefined };
  const compared = compareCounts(image, stored, counter, silent);
  if (compared.rebuild) context.report?.("ERROR rebuilt refcount structure is still broken");
  const leaks: number[] = [];
  for (const cluster of compared.differing) {
    const count = stored.counts.get(cluster);
    const references = counter.counts.get(cluster);
    if (count < references) {
      context.report?.(countLine("ERROR", cluster, stored.print(cluster, count), references));
      continue;
    }
    context.report?.(countLine("Repairing", cluster, stored.print(cluster, count), references));
    stored.counts.set(cluster, references);
    leaks.push(cluster);
  }
  await writeRefcounts(writer, image, leaks, stored.counts);
  return { stored, endOffset: compared.endOffset };
}

/** Writes the snapshot table anew, in free clusters; then lets go of the old one. */
async function repairSnapshotTable(
  writer: RepairWriter,
  check: L1Check,
  snapshots: CheckedSnapshots,
  table: Uint8Array,
  stored: StoredCounts,
): Promise<void> {
  const { image, counter } = check;
  const length = Math.ceil(table.length / image.clusterSizeBytes);
  const place = findCountedRun(image, stored.counts, length);
  if (place === undefined) {
    // No room that is counted: new refcount structures that count the new table's clusters too.
    const again = new ReferenceCounter(image, createTally(), undefined);
    const silent = { ...check.context, report: undefined };
    await countReferences(
      { ...check, counter: again, tally: createTally(), context: silent, writeEntry: undefined },
      snapshots,
    );
    const first = again.clusters;
    for (let i = 0; i < length; i++) again.counts.set(first + i, 1);
    const clusters = await rebuildRefcounts(writer, image, again.counts, first + length);
    await writeSnapshotTable(writer, image, table, snapshots.count, first);
    await settle(writer, check, { ...snapshots, lengthBytes: table.length }, clusters);
    return;
  }
  const oldFirst = Math.floor(image.snapshotsOffsetBytes / image.clusterSizeBytes);
  const oldLength = Math.ceil(snapshots.lengthBytes / image.clusterSizeBytes);
  await changeRun(writer, image, stored.counts, place, length, 1);
  const isOwn =
    !counter.isBeyond(image.snapshotsOffsetBytes, snapshots.lengthBytes) ||
    // Nothing else is counted past the end of the file.
    (oldFirst >= counter.clusters && oldFirst + oldLength <= MAX_CLUSTERS);
  await writeSnapshotTable(writer, image, table, snapshots.count, place);
  // Where its length was a lie, what stands there is not its own.
  if (isOwn) await changeRun(writer, image, stored.counts, oldFirst, oldLength, -1);
}
