import type { BlockFile } from "../block-file.ts";
import { ByreError } from "../errors.ts";
import { checkRange } from "../ranges.ts";
import { ChunkCache, readFromChunks } from "./chunk-cache.ts";
import { ChunkFetcher } from "./http-fetcher.ts";
import type { FileIdentity } from "./http-identity.ts";
import { type HttpOpening, openHttp } from "./http-open.ts";
import type { HttpSource } from "./http-request.ts";
import { ReadOnlyFile } from "./read-only-file.ts";

const MIB = 1024 * 1024;
const CHUNK_BYTES = 256 * 1024;
const CACHE_BYTES = 64 * MIB;
/** Small images are fetched whole behind the boot: a boot is bound by round trips, not by bytes. */
const FETCH_WHOLE_BELOW_BYTES = 32 * MIB;
/** Largest file that is kept in memory for a server that knows no ranges. */
const MAX_DOWNLOAD_BYTES = 512 * MIB;
const STALL_AFTER_MS = 30_000;

export interface HttpProgress {
  /** Bytes of the file received so far. */
  loadedBytes: number;
  /** Undefined while a server without ranges does not say. */
  totalBytes: number | undefined;
  /** The file's name. */
  what: string;
}

export interface HttpFileOptions {
  /** What the file must be; FILE_CHANGED when it is another. */
  identity?: FileIdentity;
  /** For messages. Default: the last part of the URL. */
  name?: string;
  /** Ends opening and every later request with CANCELLED. */
  signal?: AbortSignal;
  onProgress?: (progress: HttpProgress) => void;
  /** Default: the global one. */
  fetch?: typeof fetch;
  /** Bytes of one chunk, the unit of fetching and caching. Default: 256 KiB. */
  chunkBytes?: number;
  /** Most bytes of chunks to keep. Default: 64 MiB. */
  cacheBytes?: number;
  /** Files up to this size are fetched whole in the background. 0 for never. Default: 32 MiB. */
  fetchWholeBelowBytes?: number;
  /** Largest file to take from a server without ranges. Default: 512 MiB. */
  maxDownloadBytes?: number;
  /** Milliseconds without a byte after which a connection counts as lost. Default: 30 s. */
  stallAfterMs?: number;
}

export interface HttpFileStats {
  httpRequests: number;
  /** Bytes of bodies received. */
  httpBytes: number;
}

/** A remote file, read-only. */
export interface HttpFile extends BlockFile {
  readonly url: string;
  /** What the file is; every later answer is held against it. */
  readonly identity: FileIdentity;
  /** Whether it is read by ranges; else it was downloaded whole, and `wholeBecause` says why. */
  readonly ranged: boolean;
  readonly wholeBecause: string | undefined;
  stats(): HttpFileStats;
}

/**
 * Opens a file on an HTTP server with one ranged request, which also brings the first chunk.
 *
 * From a server that does not answer ranges, or does not let this page see Content-Range, the whole file is
 * downloaded into memory, up to `maxDownloadBytes`.
 *
 * @throws ByreError NOT_FOUND, HTTP_STATUS, NETWORK, FILE_CHANGED, RANGE_NOT_SUPPORTED (a server without
 *   ranges and a file too large to take whole), CANCELLED.
 */
export async function openHttpFile(url: string, options: HttpFileOptions = {}): Promise<HttpFile> {
  const name = options.name ?? nameFrom(url);
  const closing = new AbortController();
  const cancel = () => {
    closing.abort(new ByreError("CANCELLED", `${name}: fetching it was cancelled.`, { file: name, url }));
  };
  if (options.signal?.aborted) cancel();
  options.signal?.addEventListener("abort", cancel, { once: true });
  const release = () => options.signal?.removeEventListener("abort", cancel);

  const stats: HttpFileStats = { httpRequests: 0, httpBytes: 0 };
  const ownFetch = options.fetch ?? fetch;
  const source: HttpSource = {
    url,
    name,
    fetch: (input, init) => {
      stats.httpRequests++;
      return ownFetch(input, init);
    },
    signal: closing.signal,
    stallAfterMs: options.stallAfterMs ?? STALL_AFTER_MS,
  };
  try {
    const opening = await openHttp(source, {
      chunkBytes: options.chunkBytes ?? CHUNK_BYTES,
      maxDownloadBytes: options.maxDownloadBytes ?? MAX_DOWNLOAD_BYTES,
      identity: options.identity,
      received: (loadedBytes, totalBytes, pieceBytes) => {
        stats.httpBytes += pieceBytes;
        options.onProgress?.({ loadedBytes, totalBytes, what: name });
      },
    });
    return new ChunkedHttpFile({ source, options, opening, stats, closing, release });
  } catch (error) {
    release();
    throw error;
  }
}

/** The last part of a URL's path, or its host when there is none. */
function nameFrom(url: string): string {
  const path = url.replace(/[?#].*$/, "").replace(/\/+$/, "");
  const last = path.slice(path.lastIndexOf("/") + 1) || url;
  try {
    return decodeURIComponent(last);
  } catch {
    return last;
  }
}

interface Parts {
  source: HttpSource;
  options: HttpFileOptions;
  opening: HttpOpening;
  stats: HttpFileStats;
  closing: AbortController;
  release: () => void;
}

class ChunkedHttpFile extends ReadOnlyFile implements HttpFile {
  readonly url: string;
  readonly identity: FileIdentity;
  readonly ranged: boolean;
  readonly wholeBecause: string | undefined;
  private readonly cache: ChunkCache;
  private readonly fetcher: ChunkFetcher;
  private readonly chunkBytes: number;

  constructor(private readonly parts: Parts) {
    const { source, options, opening, stats } = parts;
    super(source.name, opening.identity.sizeBytes, "on a server");
    this.url = source.url;
    this.identity = opening.identity;
    this.wholeBecause = opening.wholeBecause;
    this.ranged = opening.wholeBecause === undefined;
    this.chunkBytes = options.chunkBytes ?? CHUNK_BYTES;
    const cacheBytes = options.cacheBytes ?? CACHE_BYTES;
    // What was downloaded whole cannot be fetched again by parts, so nothing of it may be evicted.
    this.cache = new ChunkCache(this.ranged ? cacheBytes : Number.POSITIVE_INFINITY);
    for (const [index, chunk] of opening.chunks.entries()) this.cache.put(index, chunk);
    let loadedBytes = this.cache.bytes;
    this.fetcher = new ChunkFetcher({
      source,
      identity: this.identity,
      chunkBytes: this.chunkBytes,
      cache: this.cache,
      received: (bytes) => {
        stats.httpBytes += bytes;
      },
      arrived: (bytes) => {
        loadedBytes = Math.min(loadedBytes + bytes, this.sizeBytes);
        options.onProgress?.({ loadedBytes, totalBytes: this.sizeBytes, what: this.name });
      },
    });
    const wholeBelow = Math.min(options.fetchWholeBelowBytes ?? FETCH_WHOLE_BELOW_BYTES, cacheBytes);
    if (this.ranged && this.sizeBytes <= wholeBelow) this.fetcher.fetchAll();
  }

  readNow(offsetBytes: number, target: Uint8Array): boolean {
    this.checkOpen();
    checkRange(this.name, this.sizeBytes, offsetBytes, target.length);
    return readFromChunks(this.chunkBytes, offsetBytes, target, (index) => this.fetcher.get(index));
  }

  async read(offsetBytes: number, target: Uint8Array): Promise<void> {
    // By pieces, so that a long read needs no more memory than the cache has.
    const pieceBytes = 16 * this.chunkBytes;
    this.readNow(offsetBytes, target.subarray(0, 0));
    checkRange(this.name, this.sizeBytes, offsetBytes, target.length);
    for (let done = 0; done < target.length; done += pieceBytes) {
      const piece = target.subarray(done, done + pieceBytes);
      while (!this.readNow(offsetBytes + done, piece)) await this.load(offsetBytes + done, piece.length);
    }
  }

  async load(offsetBytes: number, lengthBytes: number): Promise<void> {
    this.checkOpen();
    checkRange(this.name, this.sizeBytes, offsetBytes, lengthBytes);
    if (lengthBytes === 0) return;
    const first = Math.floor(offsetBytes / this.chunkBytes);
    await this.fetcher.load(first, Math.floor((offsetBytes + lengthBytes - 1) / this.chunkBytes));
  }

  async close(): Promise<void> {
    if (this.closed) return;
    this.closed = true;
    this.parts.release();
    this.parts.closing.abort(this.closedError());
    await this.fetcher.close();
    this.cache.clear();
  }

  stats(): HttpFileStats {
    return { ...this.parts.stats };
  }
}
