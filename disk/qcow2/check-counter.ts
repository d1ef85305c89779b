import { ClusterCounts } from "./check-counts.ts";
import { type CheckedImage, fileBytes } from "./check-image.ts";
import type { Tally } from "./check-tally.ts";
import { maxRefcount } from "./refcount-entry.ts";

/** Takes one line of the report. */
export type Say = ((line: string) => void) | undefined;

/** Counts the references to each cluster as the tables are read; what the stored refcounts should be. */
export class ReferenceCounter {
  readonly counts: ClusterCounts;
  /** Clusters of the file, and one more where something refers to the cluster that the end of the file cuts. */
  clusters: number;
  private readonly fileBytes: number;
  private readonly clusterSizeBytes: number;
  private readonly perByte: number;
  private readonly limit: number;

  constructor(
    image: CheckedImage,
    private readonly tally: Tally,
    /** Told of clusters with more references than the image's refcounts can hold. */
    private readonly sayOverflow: Say,
    /** Clusters to go up to at least. */
    clusters = 0,
  ) {
    this.fileBytes = fileBytes(image);
    this.clusterSizeBytes = image.clusterSizeBytes;
    this.perByte = 1 / image.clusterSizeBytes;
    this.limit = maxRefcount(image.header.refcountOrder);
    this.clusters = Math.max(clusters, Math.ceil(this.fileBytes * this.perByte));
    this.counts = new ClusterCounts(this.clusters);
  }

  /**
   * Counts every cluster that a range touches.
   *
   * @param times how many references there are to it.
   */
  countRange(offsetBytes: number, lengthBytes: number, times: number, say: Say): void {
    if (lengthBytes <= 0) return;
    if (this.isBeyond(offsetBytes, lengthBytes)) {
      this.complainBeyond(offsetBytes.toString(16), lengthBytes, times, say);
      return;
    }
    const last = Math.floor((offsetBytes + lengthBytes - 1) * this.perByte);
    for (let cluster = Math.floor(offsetBytes * this.perByte); cluster <= last; cluster++)
      this.countCluster(cluster, times);
  }

  /** Counts one cluster that is known to be inside the file. */
  countCluster(cluster: number, times: number): void {
    if (cluster >= this.clusters) this.clusters = cluster + 1;
    const over = this.counts.add(cluster, times, this.limit);
    if (over === 0) return;
    this.tally.corruptions += over;
    this.sayOverflow?.(`ERROR: overflow cluster offset=0x${(cluster * this.clusterSizeBytes).toString(16)}`);
    this.sayOverflow?.(
      "Use byre amend to increase the refcount entry width or byre convert to create a clean copy if the image " +
        "cannot be opened for writing",
    );
  }

  /** Whether a range passes the end of the file by a cluster or more; less is the last cluster, cut short. */
  isBeyond(offsetBytes: number, lengthBytes: number): boolean {
    return offsetBytes + lengthBytes - this.fileBytes >= this.clusterSizeBytes;
  }

  complainBeyond(offsetHex: string, lengthBytes: number, times: number, say: Say): void {
    this.tally.corruptions += times;
    say?.(
      "ERROR: counting reference for region exceeding the end of the file by one cluster or more: " +
        `offset 0x${offsetHex} size 0x${lengthBytes.toString(16)}`,
    );
  }
}
