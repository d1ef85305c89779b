import type { BlockFile } from "../block-file.ts";
import { ByreError } from "../errors.ts";
import { checkRange } from "../ranges.ts";
import { ChunkCache, readFromChunks } from "./chunk-cache.ts";
import { ReadOnlyFile } from "./read-only-file.ts";

const CHUNK_BYTES = 256 * 1024;
/** The file is on this computer, so what is evicted is soon read again. */
const CACHE_BYTES = 32 * 1024 * 1024;

export interface BlobFileOptions {
  /** For messages. Default: the name of a `File`. */
  name?: string;
  /** Most bytes of chunks to keep. Default: 32 MiB. */
  cacheBytes?: number;
}

/**
 * A file that was dropped or picked, or any other Blob; read-only.
 *
 * A `File` is a promise, not a copy: when its bytes change on disk, the browser refuses to read on, and
 * reads fail with FILE_CHANGED.
 */
export function createBlobFile(blob: Blob, options: BlobFileOptions = {}): BlockFile {
  const ownName = "name" in blob && typeof blob.name === "string" ? blob.name : "";
  return new ChunkedBlobFile(blob, options.name ?? (ownName || "blob"), options.cacheBytes ?? CACHE_BYTES);
}

class ChunkedBlobFile extends ReadOnlyFile implements BlockFile {
  private readonly cache: ChunkCache;
  private readonly loading = new Map<number, Promise<void>>();

  constructor(
    private readonly blob: Blob,
    name: string,
    cacheBytes: number,
  ) {
    super(name, blob.size, "a file of yours");
    this.cache = new ChunkCache(cacheBytes);
  }

  readNow(offsetBytes: number, target: Uint8Array): boolean {
    this.checkOpen();
    checkRange(this.name, this.sizeBytes, offsetBytes, target.length);
    return readFromChunks(CHUNK_BYTES, offsetBytes, target, (index) => this.cache.get(index));
  }

  async read(offsetBytes: number, target: Uint8Array): Promise<void> {
    this.checkOpen();
    checkRange(this.name, this.sizeBytes, offsetBytes, target.length);
    // By pieces, so that a long read needs no more memory than the cache has.
    const pieceBytes = 16 * CHUNK_BYTES;
    for (let done = 0; done < target.length; done += pieceBytes) {
      const piece = target.subarray(done, done + pieceBytes);
      while (!this.readNow(offsetBytes + done, piece)) await this.load(offsetBytes + done, piece.length);
    }
  }

  async load(offsetBytes: number, lengthBytes: number): Promise<void> {
    this.checkOpen();
    checkRange(this.name, this.sizeBytes, offsetBytes, lengthBytes);
    if (lengthBytes === 0) return;
    const first = Math.floor(offsetBytes / CHUNK_BYTES);
    const last = Math.floor((offsetBytes + lengthBytes - 1) / CHUNK_BYTES);
    for (;;) {
      const waits: Promise<void>[] = [];
      for (let index = first; index <= last; index++)
        if (!this.cache.has(index)) waits.push(this.loading.get(index) ?? this.fetch(index));
      if (waits.length === 0) break;
      await Promise.all(waits);
      this.checkOpen();
    }
    for (let index = first; index <= last; index++) this.cache.get(index);
    this.cache.trim((last - first + 1) * CHUNK_BYTES);
  }

  async close(): Promise<void> {
    this.closed = true;
    this.cache.clear();
  }

  private fetch(index: number): Promise<void> {
    const fetching = this.fetchChunk(index).finally(() => this.loading.delete(index));
    this.loading.set(index, fetching);
    return fetching;
  }

  private async fetchChunk(index: number): Promise<void> {
    const startBytes = index * CHUNK_BYTES;
    const endBytes = Math.min(startBytes + CHUNK_BYTES, this.sizeBytes);
    let chunk: Uint8Array;
    try {
      chunk = new Uint8Array(await this.blob.slice(startBytes, endBytes).arrayBuffer());
    } catch (error) {
      throw this.explain(error, startBytes);
    }
    // A file that shrank reads short in some browsers instead of failing.
    if (chunk.length !== endBytes - startBytes) throw this.changed(startBytes);
    if (!this.closed) this.cache.put(index, chunk);
  }

  private explain(error: unknown, offsetBytes: number): ByreError {
    const name = error instanceof Error || error instanceof DOMException ? error.name : "";
    // What browsers say of a file that was changed, moved or deleted since it was picked.
    if (name === "NotReadableError" || name === "NotFoundError") return this.changed(offsetBytes, error);
    const reason = error instanceof Error ? error.message : String(error);
    return new ByreError(
      "STORAGE",
      `${this.name}: its bytes at ${offsetBytes} could not be read (${reason}). Try again, or drop the file again.`,
      { file: this.name, offsetBytes },
      error,
    );
  }

  private changed(offsetBytes: number, cause?: unknown): ByreError {
    return new ByreError(
      "FILE_CHANGED",
      `${this.name} was changed, moved or deleted on this computer since it was opened. Drop it on the page again.`,
      { file: this.name, offsetBytes },
      cause,
    );
  }
}
