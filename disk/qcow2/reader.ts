import type { BlockDevice, BlockStatus } from "../block-device.ts";
import { SECTOR_BYTES } from "./format.ts";
import type { Qcow2Image } from "./image.ts";
import type { CompressedEntry } from "./l2-entry.ts";
import { findEntry, findL1, findRun, type Run } from "./mapping.ts";
import type { Need } from "./needs.ts";

/** Memory for unpacked clusters: a guest reads a cluster in several requests. */
const UNPACKED_CACHE_BYTES = 4 * 1024 * 1024;

/** Most bytes one look-up reads, so that what one attempt needs in memory stays far below a file's cache. */
const MAX_RUN_BYTES = 512 * 1024;

/** Reads guest bytes from an image and what backs it. */
export class Reader {
  /** Host offset of a compressed cluster -> its plain bytes, least recently used first. */
  private readonly unpacked = new Map<number, Uint8Array>();
  private readonly maxUnpacked: number;

  constructor(
    private readonly image: Qcow2Image,
    private readonly backing: BlockDevice | undefined,
  ) {
    this.maxUnpacked = Math.max(2, Math.floor(UNPACKED_CACHE_BYTES / image.clusterSizeBytes));
  }

  /**
   * Fills `target` if everything it needs is in memory. The range must be inside the disk, or the VM state.
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
   * Reads from the front of a range as far as one look-up reaches.
   *
   * @returns bytes read, or undefined after noting needs.
   */
  tryReadRun(guestOffsetBytes: number, wanted: Uint8Array, needs: Need[]): number | undefined {
    const { clusterSizeBytes } = this.image;
    const found = this.tryFindRun(guestOffsetBytes, Math.min(wanted.length, MAX_RUN_BYTES), needs);
    if (!found) return undefined;
    const run = wanted.subarray(0, found.lengthBytes);
    switch (found.kind) {
      case "unallocated":
        return this.readBacking(guestOffsetBytes, run, needs);
      case "zero":
        run.fill(0);
        return run.length;
      case "data":
        return this.readHost(found.hostOffsetBytes, guestOffsetBytes, run, needs);
      case "compressed": {
        if (found.entry.kind !== "compressed") return undefined;
        const inCluster = guestOffsetBytes % clusterSizeBytes;
        const plain = this.unpack(found.entry, guestOffsetBytes - inCluster, needs);
        if (!plain) return undefined;
        run.set(plain.subarray(inCluster, inCluster + run.length));
        return run.length;
      }
    }
  }

  /**
   * The packed bytes of the compressed cluster at a guest offset, with what else lies in their last sector.
   *
   * @returns undefined after noting needs.
   */
  tryReadPacked(guestOffsetBytes: number, needs: Need[]): Uint8Array<ArrayBuffer> | "not packed" | undefined {
    const found = this.tryFindRun(guestOffsetBytes, 1, needs);
    if (!found) return undefined;
    return found.entry.kind === "compressed" ? this.readPacked(found.entry, needs) : "not packed";
  }

  /** How the front of a range is stored; undefined after noting a need. */
  tryFindRun(guestOffsetBytes: number, maxBytes: number, needs: Need[]): Run | undefined {
    const { image } = this;
    const { l2OffsetBytes } = findL1(image, guestOffsetBytes);
    if (l2OffsetBytes === 0) {
      const reach = image.l2ReachBytes - (guestOffsetBytes % image.l2ReachBytes);
      const entry = { kind: "plain", hostOffsetBytes: 0, copied: false, allocated: 0, zeros: 0 } as const;
      return { kind: "unallocated", lengthBytes: Math.min(maxBytes, reach), entry, hostOffsetBytes: 0 };
    }
    const place = findEntry(image, l2OffsetBytes, guestOffsetBytes, needs);
    return place && findRun(image, place, guestOffsetBytes, maxBytes);
  }

  /** The front of a range in the words of a block status; undefined after noting a need. */
  tryStatus(guestOffsetBytes: number, maxBytes: number, needs: Need[]): BlockStatus | undefined {
    const run = this.tryFindRun(guestOffsetBytes, maxBytes, needs);
    if (!run) return undefined;
    const stored = run.kind === "data" || run.kind === "compressed";
    return {
      lengthBytes: run.lengthBytes,
      allocated: run.kind !== "unallocated",
      zero: run.kind === "zero",
      data: stored,
      compressed: run.kind === "compressed",
      hostOffsetBytes:
        run.hostOffsetBytes === 0 || this.image.cipher !== undefined ? undefined : run.hostOffsetBytes,
    };
  }

  /** Forgets an unpacked cluster whose host bytes have become free. */
  forgetUnpacked(hostOffsetBytes: number): void {
    this.unpacked.delete(hostOffsetBytes);
  }

  forgetAllUnpacked(): void {
    this.unpacked.clear();
  }

  /** Whether nothing is behind the image at all. */
  get isAlone(): boolean {
    return this.backing === undefined;
  }

  /** Whether bytes that this image does not store itself are zeros for want of anything behind them. */
  hasNothingBehind(guestOffsetBytes: number): boolean {
    return guestOffsetBytes >= this.backedBytes;
  }

  /** How much of the disk the backing device reaches. VM state, past the disk's end, has nothing behind it. */
  private get backedBytes(): number {
    return Math.min(this.backing?.sizeBytes ?? 0, this.image.header.sizeBytes);
  }

  private readHost(
    hostOffsetBytes: number,
    guestOffsetBytes: number,
    target: Uint8Array,
    needs: Need[],
  ): number | undefined {
    const { file, cipher } = this.image;
    if (!cipher) return this.readFile(hostOffsetBytes, target, needs) ? target.length : undefined;
    // Sectors are encrypted whole.
    const before = guestOffsetBytes % SECTOR_BYTES;
    const sectors = new Uint8Array(Math.ceil((before + target.length) / SECTOR_BYTES) * SECTOR_BYTES);
    if (!this.readFile(hostOffsetBytes - before, sectors, needs)) return undefined;
    // What lies past the end of the file was never written, so it is zeros and not encrypted ones.
    const inFile = Math.max(0, Math.min(sectors.length, file.sizeBytes - (hostOffsetBytes - before)));
    const whole = Math.ceil(inFile / SECTOR_BYTES) * SECTOR_BYTES;
    cipher.decrypt(guestOffsetBytes - before, sectors.subarray(0, whole));
    target.set(sectors.subarray(before, before + target.length));
    return target.length;
  }

  private readFile(hostOffsetBytes: number, target: Uint8Array, needs: Need[]): boolean {
    const { file } = this.image;
    // QEMU leaves the file's last cluster short when only its front was written; the rest is zeros.
    const inFile = Math.max(0, Math.min(target.length, file.sizeBytes - hostOffsetBytes));
    if (inFile > 0 && !file.readNow(hostOffsetBytes, target.subarray(0, inFile))) {
      needs.push(() => file.load(hostOffsetBytes, inFile));
      return false;
    }
    target.fill(0, inFile);
    return true;
  }

  private readBacking(guestOffsetBytes: number, target: Uint8Array, needs: Need[]): number | undefined {
    const { backing } = this;
    const backed = Math.max(0, Math.min(target.length, this.backedBytes - guestOffsetBytes));
    if (backing && backed > 0 && !backing.readNow(guestOffsetBytes, target.subarray(0, backed))) {
      // Read it for the caches' sake only: when this is tried again `readNow` finds it there.
      needs.push(() => backing.read(guestOffsetBytes, new Uint8Array(backed)));
      return undefined;
    }
    target.fill(0, backed);
    return target.length;
  }

  private unpack(entry: CompressedEntry, guestOffsetBytes: number, needs: Need[]): Uint8Array | undefined {
    const { image } = this;
    const { hostOffsetBytes } = entry;
    const known = this.unpacked.get(hostOffsetBytes);
    if (known) return known;
    const packed = this.readPacked(entry, needs);
    if (!packed) return undefined;
    const plain = image.codec.decompress(packed, image.clusterSizeBytes);
    if (!plain)
      throw image.damagedData(
        `the compressed data of the guest's cluster at ${guestOffsetBytes} is damaged`,
        hostOffsetBytes,
      );
    this.unpacked.set(hostOffsetBytes, plain);
    if (this.unpacked.size > this.maxUnpacked) {
      const oldest = this.unpacked.keys().next();
      if (!oldest.done) this.unpacked.delete(oldest.value);
    }
    return plain;
  }

  private readPacked(entry: CompressedEntry, needs: Need[]): Uint8Array<ArrayBuffer> | undefined {
    const { file } = this.image;
    const { hostOffsetBytes } = entry;
    const lengthBytes = Math.min(entry.lengthBytes, file.sizeBytes - hostOffsetBytes);
    const packed = new Uint8Array(lengthBytes);
    if (file.readNow(hostOffsetBytes, packed)) return packed;
    needs.push(() => file.load(hostOffsetBytes, lengthBytes));
    return undefined;
  }
}
