import type { BlockDevice } from "../block-device.ts";
import { ENTRY_BYTES } from "../qcow2/format.ts";
import type { Qcow2Image } from "../qcow2/image.ts";
import type { CompressedEntry, L2Entry } from "../qcow2/l2-entry.ts";
import { untilReady } from "../qcow2/needs.ts";
import type { Qcow2Device } from "../qcow2/qcow2-device.ts";
import { Reader } from "../qcow2/reader.ts";
import type { Qcow2Snapshot } from "../qcow2/snapshot-table.ts";
import { vmStateOffset } from "../qcow2/vm-state.ts";

/** A compressed cluster where it stands. */
export interface PackedPlace {
  readonly image: Qcow2Image;
  readonly entry: CompressedEntry;
}

/** Clusters that are stored alike, through all that is behind a disk. */
export interface ClusterRun {
  /** data: bytes are stored. unknown: some may be zeros; reading shows. */
  readonly kind: "zero" | "data" | "unknown" | "packed";
  readonly clusters: number;
  /** Where a packed one stands. */
  readonly packed?: PackedPlace;
}

/**
 * A disk, and the VM state past its end, as one tree of tables of the new image shows them. Clusters are those of
 * the new image: the disk's from 0 on, the state's from the first that a table after the disk's last covers.
 */
export class ExportView {
  readonly diskClusters: number;
  readonly firstStateCluster: number;
  readonly endCluster: number;
  /** Entries of the L1 table that it needs. */
  readonly l1Entries: number;
  private readonly clusterSizeBytes: number;
  private readonly reader: Reader;
  /** Where the state begins in the old image. */
  private readonly stateStartBytes: number;

  /**
   * @param device the disk: of the image as it is now, or of a snapshot. Stays the caller's.
   * @param snapshot what it is kept as; undefined for the new image's own disk, which has no state.
   */
  constructor(
    readonly device: Qcow2Device,
    readonly snapshot?: Qcow2Snapshot,
  ) {
    const { image } = device;
    const { clusterSizeBytes } = image;
    const l2Entries = clusterSizeBytes / ENTRY_BYTES;
    const stateBytes = snapshot?.vmStateBytes ?? 0;
    this.clusterSizeBytes = clusterSizeBytes;
    this.reader = new Reader(image, undefined);
    this.stateStartBytes = vmStateOffset(image);
    this.diskClusters = Math.ceil(device.sizeBytes / clusterSizeBytes);
    this.firstStateCluster = Math.ceil(this.diskClusters / l2Entries) * l2Entries;
    const stateClusters = Math.ceil(stateBytes / clusterSizeBytes);
    this.endCluster = stateClusters > 0 ? this.firstStateCluster + stateClusters : this.diskClusters;
    this.l1Entries = Math.ceil(this.endCluster / l2Entries);
  }

  /** How a cluster and those after it are stored, `maxClusters` at most. */
  async status(cluster: number, maxClusters: number): Promise<ClusterRun> {
    if (cluster >= this.endCluster) return { kind: "zero", clusters: maxClusters };
    if (cluster >= this.firstStateCluster)
      return await this.stateStatus(cluster, Math.min(maxClusters, this.endCluster - cluster));
    if (cluster >= this.diskClusters)
      return { kind: "zero", clusters: Math.min(maxClusters, this.firstStateCluster - cluster) };
    const at = cluster * this.clusterSizeBytes;
    const maxBytes = Math.min(maxClusters * this.clusterSizeBytes, this.device.sizeBytes - at);
    const run = await chainStatus(this.device, at, maxBytes);
    // The disk may end inside its last cluster.
    const whole = at + run.lengthBytes === this.device.sizeBytes ? Math.ceil : Math.floor;
    const clusters = whole(run.lengthBytes / this.clusterSizeBytes);
    if (clusters === 0) return { kind: "unknown", clusters: 1 };
    return { kind: run.kind, clusters, ...(run.packed && { packed: run.packed }) };
  }

  /** Fills `target`, one cluster or several, with zeros past the disk's or the state's end. */
  async read(cluster: number, target: Uint8Array): Promise<void> {
    const inState = cluster >= this.firstStateCluster;
    const at = (cluster - (inState ? this.firstStateCluster : 0)) * this.clusterSizeBytes;
    const endBytes = inState ? (this.snapshot?.vmStateBytes ?? 0) : this.device.sizeBytes;
    const part = target.subarray(0, Math.max(0, Math.min(target.length, endBytes - at)));
    target.fill(0, part.length);
    if (inState) await this.device.readVmState(at, part);
    else await this.device.read(at, part);
  }

  /**
   * For each of some clusters a text that is the same in two views of one image when the clusters have the same
   * bytes; undefined for one that shares with none.
   *
   * @param otherBytes length of the other view's disk.
   */
  async identities(cluster: number, count: number, otherBytes: number): Promise<(string | undefined)[]> {
    const found: (string | undefined)[] = new Array(count).fill(undefined);
    // What is behind a disk shows as far as the disk reaches: of two lengths, the last cluster is not the same.
    const sameLength = this.device.sizeBytes === otherBytes;
    const diskEnd = sameLength
      ? this.diskClusters
      : Math.floor(Math.min(this.device.sizeBytes, otherBytes) / this.clusterSizeBytes);
    for (let i = 0; i < count; ) {
      const at = cluster + i;
      if (at >= this.firstStateCluster && at < this.endCluster)
        i += await this.identify(at, found, i, Math.min(count, this.endCluster - cluster), "state");
      else if (at < diskEnd)
        i += await this.identify(at, found, i, Math.min(count, diskEnd - cluster), "disk");
      else i++;
    }
    return found;
  }

  /** Fills in what one look at the tables gives, and says for how many clusters. */
  private async identify(
    cluster: number,
    found: (string | undefined)[],
    from: number,
    to: number,
    area: "disk" | "state",
  ): Promise<number> {
    const { clusterSizeBytes } = this;
    const at = this.oldOffset(cluster);
    return await untilReady((needs) => {
      let i = from;
      while (i < to) {
        const offset = at + (i - from) * clusterSizeBytes;
        const run = this.reader.tryFindRun(offset, (to - i) * clusterSizeBytes, needs);
        if (!run) return i > from ? i - from : undefined;
        const text = area + identityOf(run.entry);
        // Only what is nowhere is the same for a whole run.
        const nowhere = run.entry.kind === "plain" && run.hostOffsetBytes === 0;
        const same = nowhere ? Math.max(1, Math.floor(run.lengthBytes / clusterSizeBytes)) : 1;
        found.fill(text, i, i + same);
        i += same;
      }
      return i - from;
    });
  }

  private async stateStatus(cluster: number, maxClusters: number): Promise<ClusterRun> {
    const run = await untilReady((needs) =>
      this.reader.tryFindRun(this.oldOffset(cluster), maxClusters * this.clusterSizeBytes, needs),
    );
    const clusters = Math.floor(run.lengthBytes / this.clusterSizeBytes);
    if (clusters === 0) return { kind: "unknown", clusters: 1 };
    if (run.entry.kind === "compressed")
      return { kind: "packed", clusters, packed: { image: this.device.image, entry: run.entry } };
    return { kind: run.kind === "data" ? "data" : "zero", clusters };
  }

  private oldOffset(cluster: number): number {
    if (cluster < this.firstStateCluster) return cluster * this.clusterSizeBytes;
    return this.stateStartBytes + (cluster - this.firstStateCluster) * this.clusterSizeBytes;
  }
}

function identityOf(entry: L2Entry): string {
  return entry.kind === "compressed"
    ? `c${entry.hostOffsetBytes}`
    : `p${entry.hostOffsetBytes}:${entry.allocated}:${entry.zeros}`;
}

/** The packed bytes, with what else lies in their last sector. */
export async function readPackedPlace({ image, entry }: PackedPlace): Promise<Uint8Array> {
  const { file } = image;
  const packed = new Uint8Array(Math.min(entry.lengthBytes, file.sizeBytes - entry.hostOffsetBytes));
  await file.read(entry.hostOffsetBytes, packed);
  return packed;
}

async function chainStatus(
  device: BlockDevice,
  offsetBytes: number,
  maxBytes: number,
): Promise<{ kind: ClusterRun["kind"]; lengthBytes: number; packed?: PackedPlace }> {
  const { allocated, zero, compressed, lengthBytes } = await device.blockStatus(offsetBytes, maxBytes);
  if (zero) return { kind: "zero", lengthBytes };
  // A raw image does not say where its zeros are.
  if (!isQcow2(device)) return { kind: "unknown", lengthBytes };
  if (compressed) {
    const { image } = device;
    const reader = new Reader(image, undefined);
    const { entry } = await untilReady((needs) => reader.tryFindRun(offsetBytes, 1, needs));
    if (entry.kind === "compressed") return { kind: "packed", lengthBytes, packed: { image, entry } };
  }
  if (allocated) return { kind: "data", lengthBytes };
  const { backing } = device;
  if (!backing || offsetBytes >= backing.sizeBytes) return { kind: "zero", lengthBytes };
  return await chainStatus(backing, offsetBytes, Math.min(lengthBytes, backing.sizeBytes - offsetBytes));
}

export function isQcow2(device: BlockDevice): device is Qcow2Device {
  return "image" in device;
}
