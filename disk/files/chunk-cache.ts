/**
 * Chunks of a file by their index, the least recently used going first when they take more than
 * `limitBytes`. Chunks are of one size, but for a last one that may be shorter.
 */
export class ChunkCache {
  private readonly chunks = new Map<number, Uint8Array>();
  private heldBytes = 0;
  private newest = -1;

  constructor(private readonly limitBytes: number) {}

  get bytes(): number {
    return this.heldBytes;
  }

  has(index: number): boolean {
    return this.chunks.has(index);
  }

  /** The chunk, which is then the most recently used. */
  get(index: number): Uint8Array | undefined {
    const chunk = this.chunks.get(index);
    if (!chunk || index === this.newest) return chunk;
    // A Map iterates in order of insertion, so the last one inserted is the most recently used.
    this.chunks.delete(index);
    this.chunks.set(index, chunk);
    this.newest = index;
    return chunk;
  }

  /** Takes a chunk in. Nothing is evicted before `trim`. */
  put(index: number, chunk: Uint8Array): void {
    this.delete(index);
    this.chunks.set(index, chunk);
    this.heldBytes += chunk.length;
    this.newest = index;
  }

  delete(index: number): void {
    const chunk = this.chunks.get(index);
    if (!chunk) return;
    this.chunks.delete(index);
    this.heldBytes -= chunk.length;
  }

  /** Drops every chunk from `index` on. */
  deleteFrom(index: number): void {
    for (const key of this.chunks.keys()) if (key >= index) this.delete(key);
  }

  clear(): void {
    this.chunks.clear();
    this.heldBytes = 0;
  }

  /**
   * Evicts down to the limit, or to `keepBytes` where that is more: one load may need more than the cache
   * may hold, and what it brought must still be there when it is done.
   */
  trim(keepBytes = 0): void {
    const limit = Math.max(this.limitBytes, keepBytes);
    for (const key of this.chunks.keys()) {
      if (this.heldBytes <= limit) return;
      this.delete(key);
    }
  }
}

/** A chunk that is known to hold only zeros and takes no memory. */
export const HOLE = null;

/**
 * Fills `target` from chunks.
 *
 * @param find gives a chunk, `HOLE`, or undefined when it is not in memory.
 * @returns false, with `target` unspecified, when one was not in memory.
 */
export function readFromChunks(
  chunkBytes: number,
  offsetBytes: number,
  target: Uint8Array,
  find: (index: number) => Uint8Array | typeof HOLE | undefined,
): boolean {
  let done = 0;
  while (done < target.length) {
    const at = offsetBytes + done;
    const inChunk = at % chunkBytes;
    const length = Math.min(chunkBytes - inChunk, target.length - done);
    const chunk = find((at - inChunk) / chunkBytes);
    if (chunk === undefined) return false;
    if (chunk === HOLE) target.fill(0, done, done + length);
    else target.set(chunk.subarray(inChunk, inChunk + length), done);
    done += length;
  }
  return true;
}
