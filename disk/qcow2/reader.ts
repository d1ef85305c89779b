import type { BlockDevice } from "../block-device.ts";
import { inflateCluster } from "./compression.ts";
import type { Qcow2Image } from "./image.ts";
import type { L2Entry } from "./l2-entry.ts";
import { entryAt, findEntry, findL1 } from "./mapping.ts";
import type { Need } from "./needs.ts";

/** Memory for inflated clusters: a guest reads a cluster in several requests. */
const INFLATED_CACHE_BYTES = 4 * 1024 * 1024;

/** Most bytes one look-up reads, so that what one attempt needs in memory stays far below a file's cache. */
const MAX_RUN_BYTES = 512 * 1024;

/** Reads guest bytes from an image and what backs it. */
export class Reader {
  /** Host offset of a compressed cluster -> its plain bytes, least recently used first. */
  private readonly inflated = new Map<number, Uint8Array>();
  private readonly maxInflated: number;

  constructor(
    private readonly image: Qcow2Image,
    private readonly backing: BlockDevice | undefined,
  ) {
    this.maxInflated = Math.max(2, Math.floor(INFLATED_CACHE_BYTES / image.clusterSizeBytes));
  }

  /**
   * Fills `target` if everything it needs is in memory. The range must be inside the disk.
   *
   * @returns true when filled, undefined after noting needs.
   */
  tryRead(guestOffsetBytes: number, target: Uint8Array, needs: Need[]): true | undefined {
    let done = 0;
    while (done < target.length) {
      const length = this.tryReadRun(guestOffsetBytes + done, target.subarray(done), needs);
      if (length === undefined) return undefined;
      done += length;
    }
    return true;
  }

  /**
   * Reads from the front of a range as far as one look-up reaches: clusters of one kind that follow each
   * other in the host file, or one compressed cluster.
   *
   * @returns bytes read, or undefined after noting needs.
   */
  tryReadRun(guestOffsetBytes: number, wanted: Uint8Array, needs: Need[]): number | undefined {
    const { image } = this;
    const target = wanted.subarray(0, MAX_RUN_BYTES);
    const { clusterSizeBytes } = image;
    const inCluster = guestOffsetBytes % clusterSizeBytes;
    const { l2OffsetBytes } = findL1(image, guestOffsetBytes);
    if (l2OffsetBytes === 0) {
      const reach = clusterSizeBytes * image.l2Entries;
      const length = Math.min(target.length, reach - (guestOffsetBytes % reach));
      return this.readBacking(guestOffsetBytes, target.subarray(0, length), needs);
    }
    const place = findEntry(image, l2OffsetBytes, guestOffsetBytes, needs);
    if (!place) return undefined;
    const entry = entryAt(image, place.slice, place.index);
    const maxClusters = Math.min(
      place.entriesLeft,
      Math.ceil((inCluster + target.length) / clusterSizeBytes),
    );
    let clusters = 1;
    while (
      clusters < maxClusters &&
      continues(entry, entryAt(image, place.slice, place.index + clusters), clusters * clusterSizeBytes)
    )
      clusters++;
    const run = target.subarray(0, Math.min(target.length, clusters * clusterSizeBytes - inCluster));
    switch (entry.kind) {
      case "unallocated":
        return this.readBacking(guestOffsetBytes, run, needs);
      case "zero":
        run.fill(0);
        return run.length;
      case "data":
        return this.readHost(entry.hostOffsetBytes + inCluster, run, needs);
      case "compressed": {
        const plain = this.inflate(entry, guestOffsetBytes - inCluster, needs);
        if (!plain) return undefined;
        run.set(plain.subarray(inCluster, inCluster + run.length));
        return run.length;
      }
    }
  }

  /** Forgets an inflated cluster whose host bytes have become free. */
  forgetInflated(hostOffsetBytes: number): void {
    this.inflated.delete(hostOffsetBytes);
  }

  private readHost(hostOffsetBytes: number, target: Uint8Array, needs: Need[]): number | undefined {
    const { file } = this.image;
    // QEMU leaves the file's last cluster short when only its front was written; the rest is zeros.
    const inFile = Math.max(0, Math.min(target.length, file.sizeBytes - hostOffsetBytes));
    if (inFile > 0 && !file.readNow(hostOffsetBytes, target.subarray(0, inFile))) {
      needs.push(() => file.load(hostOffsetBytes, inFile));
      return undefined;
    }
    target.fill(0, inFile);
    return target.length;
  }

  private readBacking(guestOffsetBytes: number, target: Uint8Array, needs: Need[]): number | undefined {
    const { backing } = this;
    const backed = backing ? Math.max(0, Math.min(target.length, backing.sizeBytes - guestOffsetBytes)) : 0;
    if (backing && backed > 0 && !backing.readNow(guestOffsetBytes, target.subarray(0, backed))) {
      // Read it for the caches' sake only: when this is tried again `readNow` finds it there.
      needs.push(() => backing.read(guestOffsetBytes, new Uint8Array(backed)));
      return undefined;
    }
    target.fill(0, backed);
    return target.length;
  }

  private inflate(
    entry: L2Entry & { kind: "compressed" },
    guestOffsetBytes: number,
    needs: Need[],
  ): Uint8Array | undefined {
    const { image } = this;
    const { hostOffsetBytes } = entry;
    const known = this.inflated.get(hostOffsetBytes);
    if (known) return known;
    const lengthBytes = Math.min(entry.lengthBytes, image.file.sizeBytes - hostOffsetBytes);
    const packed = new Uint8Array(lengthBytes);
    if (!image.file.readNow(hostOffsetBytes, packed)) {
      needs.push(() => image.file.load(hostOffsetBytes, lengthBytes));
      return undefined;
    }
    const plain = inflateCluster(packed, image.clusterSizeBytes);
    if (!plain)
      throw image.corrupt(
        `the compressed data of the guest's cluster at ${guestOffsetBytes} is damaged`,
        hostOffsetBytes,
      );
    this.inflated.set(hostOffsetBytes, plain);
    if (this.inflated.size > this.maxInflated) {
      const oldest = this.inflated.keys().next();
      if (!oldest.done) this.inflated.delete(oldest.value);
    }
    return plain;
  }
}

/** Whether `next`, this many bytes further on, can be read in one piece with `first`. */
function continues(first: L2Entry, next: L2Entry, distanceBytes: number): boolean {
  switch (first.kind) {
    case "unallocated":
    case "zero":
      return next.kind === first.kind;
    case "data":
      return next.kind === "data" && next.hostOffsetBytes === first.hostOffsetBytes + distanceBytes;
    case "compressed":
      return false;
  }
}
