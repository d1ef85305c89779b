import { ReferenceCounter } from "./check-counter.ts";
import { ClusterCounts } from "./check-counts.ts";
import { type CheckedImage, fileBytes } from "./check-image.ts";
import type { L1Check } from "./check-l1.ts";
import { NumberList } from "./check-ranges.ts";
import { readStoredCounts, type StoredCounts } from "./check-refcounts.ts";
import { countReferences, MAX_CLUSTERS, tellCopiedFlags } from "./check-references.ts";
import { readSnapshotsForCheck } from "./check-snapshots.ts";
import { addTally, type CheckContext, checkFailed, createTally, type Tally } from "./check-tally.ts";
import { SECTOR_BYTES } from "./format.ts";

/**
 * One pass of checking that changes nothing.
 *
 * @throws ByreError CHECK_FAILED when the check cannot go on, as where QEMU gives up.
 */
export async function checkPass(image: CheckedImage, context: CheckContext): Promise<Tally> {
  const snapshotTally = createTally();
  const snapshots = await readSnapshotsForCheck(image, snapshotTally, context);
  const tally = createTally();
  const clusters = countClusters(image, tally);
  const stored = await readStoredCounts(image, clusters);
  const counter = new ReferenceCounter(image, tally, context.report);
  const check: L1Check = { image, counter, tally, context, stored, writeEntry: undefined };
  const findings = await countReferences(check, snapshots);
  const compared = compareCounts(image, stored, counter, context);
  tally.corruptions += compared.corruptions + findings.copiedErrors;
  tally.leaks += compared.leaks;
  tally.checkErrors += compared.checkErrors;
  tally.imageEndOffset = compared.endOffset;
  await tellCopiedFlags(check, findings);
  addTally(tally, snapshotTally);
  return tally;
}

/**
 * How many clusters the file has; the guest's total goes to the tally.
 *
 * @throws ByreError CHECK_FAILED for more than QEMU checks.
 */
export function countClusters(image: CheckedImage, tally: Tally): number {
  const { clusterSizeBytes, header } = image;
  const clusters = Math.ceil(fileBytes(image) / clusterSizeBytes);
  if (clusters > MAX_CLUSTERS)
    throw checkFailed(image.file.name, `its file has ${clusters} clusters`, "File too large");
  const sectors = Math.floor(header.sizeBytes / SECTOR_BYTES);
  tally.totalClusters = Math.ceil((sectors * SECTOR_BYTES) / clusterSizeBytes);
  return clusters;
}

/** How the stored refcounts differ from the references that were counted. */
export interface Comparison {
  readonly corruptions: number;
  readonly leaks: number;
  readonly checkErrors: number;
  /** A cluster is used that counts as free, or that nothing counts: new structures are needed. */
  readonly rebuild: boolean;
  readonly endOffset: number;
  /** Clusters whose counts differ and could be read, in order. */
  readonly differing: Float64Array;
}

export function compareCounts(
  image: CheckedImage,
  stored: StoredCounts,
  counter: ReferenceCounter,
  context: CheckContext,
): Comparison {
  const { report } = context;
  const differing = new NumberList();
  let corruptions = 0;
  let checkErrors = 0;
  let rebuild = false;
  for (const line of stored.complaints) report?.(line);
  const last = ClusterCounts.compare(
    stored.counts,
    counter.counts,
    counter.clusters,
    (cluster, count, references) => {
      if (Number.isNaN(count)) {
        checkErrors++;
        report?.(`Can't get refcount for cluster ${cluster}: Input/output error`);
        return;
      }
      if (count === 0) rebuild = true;
      if (count < references) corruptions++;
      differing.push(cluster);
      report?.(
        countLine(count < references ? "ERROR" : "Leaked", cluster, stored.print(cluster, count), references),
      );
    },
  );
  return {
    corruptions,
    leaks: differing.length - corruptions,
    checkErrors,
    rebuild,
    endOffset: (last + 1) * image.clusterSizeBytes,
    differing: differing.view(),
  };
}

/** The report's line for a refcount that differs from the references. */
export function countLine(
  word: "ERROR" | "Leaked" | "Repairing",
  cluster: number,
  count: string,
  references: number,
): string {
  return `${word} cluster ${cluster} refcount=${count} reference=${references}`;
}
