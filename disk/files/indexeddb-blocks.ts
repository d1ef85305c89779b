import { ByreError } from "../errors.ts";
import { ChunkCache, HOLE, readFromChunks } from "./chunk-cache.ts";

/**
 * Length of a stored block. From 65,536 bytes on Chromium makes a file of every value, which makes one read
 * twice and one small commit three times as slow (0.3-0.5 ms a read at this size).
 */
export const BLOCK_BYTES = 32 * 1024;

/** Cached in place of a block that is not stored; replaced, never written to. */
const ZEROS = new Uint8Array(BLOCK_BYTES);

/** A block with writes that are not known to be durable. */
interface PinnedBlock {
  bytes: Uint8Array<ArrayBuffer>;
  /** The clock at its last change. */
  version: number;
}

/** Everything one commit has to store, as of one instant. */
export interface Capture {
  readonly clock: number;
  readonly sizeBytes: number;
  readonly blocks: readonly (readonly [index: number, bytes: Uint8Array<ArrayBuffer>])[];
  /** Stored blocks from here on go before `blocks` are stored; Infinity for none. */
  readonly deleteFrom: number;
  readonly trims: [blockIndex: number, validBytes: number][];
}

/**
 * The part of an IndexedDB file that is in memory, and what of it is not stored yet. Knows nothing of
 * IndexedDB: everything here is synchronous.
 *
 * Every change moves a clock. A commit captures all that is not known to be durable, not only what changed
 * since the last capture: then the commits may overlap, and any of them may fail, and each one that
 * succeeds leaves a whole image behind.
 */
export class IndexedDbBlocks {
  private readonly pinned = new Map<number, PinnedBlock>();
  private readonly clean: ChunkCache;
  private readonly trims: Map<number, number>;
  /** Truncations that are not durable, by clock, and so by rising block: an earlier higher one says nothing more. */
  private truncations: { fromBlock: number; clock: number }[] = [];
  /** No block from here on is stored. */
  private storedBlocks: number;
  private clock = 0;
  private capturedClock = 0;
  private durableClock = 0;
  /** Bytes of blocks that were pinned since the last capture. */
  uncapturedBytes = 0;

  constructor(
    public sizeBytes: number,
    trims: readonly (readonly [number, number])[],
    cacheBytes: number,
  ) {
    this.storedBlocks = Math.ceil(sizeBytes / BLOCK_BYTES);
    this.trims = new Map(trims);
    this.clean = new ChunkCache(cacheBytes);
  }

  get dirtyBytes(): number {
    return this.pinned.size * BLOCK_BYTES;
  }

  /** Whether anything changed since the last capture that has not failed. */
  get hasChanges(): boolean {
    return this.clock > this.capturedClock;
  }

  /** Whether anything is not known to be durable. */
  get hasUnstored(): boolean {
    return this.clock > this.durableClock;
  }

  read(offsetBytes: number, target: Uint8Array): boolean {
    return readFromChunks(BLOCK_BYTES, offsetBytes, target, (index) => this.find(index));
  }

  /** Whether a block must be loaded before it can be read. */
  isMissing(index: number): boolean {
    return !this.pinned.has(index) && !this.clean.has(index) && this.isStored(index);
  }

  canWrite(offsetBytes: number, lengthBytes: number): boolean {
    if (lengthBytes === 0) return true;
    const endBytes = offsetBytes + lengthBytes;
    const first = Math.floor(offsetBytes / BLOCK_BYTES);
    const last = Math.floor((endBytes - 1) / BLOCK_BYTES);
    if (this.isMissing(first) && (offsetBytes % BLOCK_BYTES !== 0 || endBytes < (first + 1) * BLOCK_BYTES))
      return false;
    return last === first || endBytes % BLOCK_BYTES === 0 || !this.isMissing(last);
  }

  /** @throws ByreError INVALID_ARGUMENT, with nothing changed, when `canWrite` is false. */
  write(offsetBytes: number, data: Uint8Array): void {
    if (!this.canWrite(offsetBytes, data.length)) {
      throw new ByreError(
        "INVALID_ARGUMENT",
        `A write of ${data.length} bytes at ${offsetBytes} needs its edges in memory: load them first.`,
        { offsetBytes, lengthBytes: data.length },
      );
    }
    if (data.length === 0) return;
    this.clock++;
    let done = 0;
    while (done < data.length) {
      const at = offsetBytes + done;
      const inBlock = at % BLOCK_BYTES;
      const length = Math.min(BLOCK_BYTES - inBlock, data.length - done);
      this.pin((at - inBlock) / BLOCK_BYTES).set(data.subarray(done, done + length), inBlock);
      done += length;
    }
    this.sizeBytes = Math.max(this.sizeBytes, offsetBytes + data.length);
  }

  truncate(sizeBytes: number): void {
    if (sizeBytes === this.sizeBytes) return;
    this.clock++;
    if (sizeBytes < this.sizeBytes) this.cut(sizeBytes);
    this.sizeBytes = sizeBytes;
  }

  /** Whole blocks of the range are not to be stored for its sake: they read as they are stored, or as zeros. */
  forget(offsetBytes: number, lengthBytes: number): void {
    const end = Math.floor((offsetBytes + lengthBytes) / BLOCK_BYTES);
    for (let index = Math.ceil(offsetBytes / BLOCK_BYTES); index < end; index++) {
      const block = this.pinned.get(index);
      if (!block) continue;
      if (block.version > this.capturedClock) this.uncapturedBytes -= BLOCK_BYTES;
      this.pinned.delete(index);
    }
  }

  /**
   * Takes in a block as it is stored, undefined for one that is not.
   *
   * Not while a commit that holds the block completes between the read and this: a read transaction that
   * started first ends first, so its caller is sure of that.
   */
  install(index: number, stored: Uint8Array<ArrayBuffer> | undefined): void {
    if (!this.isMissing(index)) return;
    const validBytes = this.trims.get(index);
    if (stored && validBytes !== undefined) stored.fill(0, validBytes);
    this.clean.put(index, stored ?? ZEROS);
  }

  /** Makes the blocks of a range the most recently used and evicts others. */
  keep(first: number, last: number): void {
    for (let index = first; index <= last; index++) this.clean.get(index);
    this.clean.trim((last - first + 1) * BLOCK_BYTES);
  }

  /** What a commit has to store. The bytes are not copied: store them before anything changes. */
  capture(): Capture {
    this.capturedClock = this.clock;
    this.uncapturedBytes = 0;
    return {
      clock: this.clock,
      sizeBytes: this.sizeBytes,
      blocks: [...this.pinned].map(([index, block]) => [index, block.bytes] as const),
      deleteFrom: this.deleteFrom(),
      trims: [...this.trims],
    };
  }

  committed(capture: Capture): void {
    this.durableClock = Math.max(this.durableClock, capture.clock);
    this.capturedClock = Math.max(this.capturedClock, capture.clock);
    this.truncations = this.truncations.filter(({ clock }) => clock > capture.clock);
    this.storedBlocks = Math.min(this.storedBlocks, capture.deleteFrom);
    for (const [index] of capture.blocks) {
      this.storedBlocks = Math.max(this.storedBlocks, index + 1);
      const block = this.pinned.get(index);
      if (!block || block.version > capture.clock) continue;
      this.pinned.delete(index);
      this.clean.put(index, block.bytes);
    }
    this.clean.trim();
  }

  failed(): void {
    this.capturedClock = this.durableClock;
  }

  clear(): void {
    this.pinned.clear();
    this.clean.clear();
  }

  private find(index: number): Uint8Array | typeof HOLE | undefined {
    const resident = this.pinned.get(index)?.bytes ?? this.clean.get(index);
    return resident ?? (this.isStored(index) ? undefined : HOLE);
  }

  private isStored(index: number): boolean {
    return index < this.storedBlocks && index < this.deleteFrom();
  }

  private deleteFrom(): number {
    return this.truncations[0]?.fromBlock ?? Number.POSITIVE_INFINITY;
  }

  /** The block's bytes, to be changed: never evicted from now on until they are durable. */
  private pin(index: number): Uint8Array<ArrayBuffer> {
    const pinned = this.pinned.get(index);
    if (pinned) {
      if (pinned.version <= this.capturedClock) this.uncapturedBytes += BLOCK_BYTES;
      pinned.version = this.clock;
      return pinned.bytes;
    }
    const cached = this.clean.get(index);
    const bytes =
      cached && cached !== ZEROS ? (cached as Uint8Array<ArrayBuffer>) : new Uint8Array(BLOCK_BYTES);
    this.clean.delete(index);
    // Stored whole from now on: a trim that is noted for its old bytes ends with the commit that stores it.
    this.trims.delete(index);
    this.pinned.set(index, { bytes, version: this.clock });
    this.uncapturedBytes += BLOCK_BYTES;
    return bytes;
  }

  private cut(sizeBytes: number): void {
    const keptBlocks = Math.ceil(sizeBytes / BLOCK_BYTES);
    const edge = keptBlocks - 1;
    const validBytes = sizeBytes - edge * BLOCK_BYTES;
    if (validBytes < BLOCK_BYTES && sizeBytes > 0) {
      if (!this.isMissing(edge)) {
        const bytes = this.find(edge);
        if (bytes && bytes !== ZEROS) this.pin(edge).fill(0, validBytes);
      } else this.trims.set(edge, Math.min(validBytes, this.trims.get(edge) ?? BLOCK_BYTES));
    }
    for (const index of this.pinned.keys()) if (index >= keptBlocks) this.pinned.delete(index);
    for (const index of this.trims.keys()) if (index >= keptBlocks) this.trims.delete(index);
    this.clean.deleteFrom(keptBlocks);
    this.truncations = this.truncations.filter(({ fromBlock }) => fromBlock < keptBlocks);
    this.truncations.push({ fromBlock: keptBlocks, clock: this.clock });
  }
}
