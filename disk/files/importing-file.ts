import type { BlockFile } from "../block-file.ts";
import { ByreError } from "../errors.ts";
import { checkRange } from "../ranges.ts";
import { createBlobFile } from "./blob-file.ts";
import { ImportCopy, type ImportProgress } from "./importing-copy.ts";
import { BLOCK_BYTES } from "./indexeddb-blocks.ts";
import { deleteUnfinishedImport } from "./indexeddb-catalog.ts";
import type { CommittingFile } from "./indexeddb-committing-file.ts";
import type { BlockDatabase, ImportSource } from "./indexeddb-database.ts";
import { openCommittingFile } from "./indexeddb-file.ts";
import { ReadOnlyFile } from "./read-only-file.ts";

/**
 * In Chromium as fast as 4 MiB (some 85 MB/s), and the guest, which has the same thread and the same storage, is
 * held up for 8 ms at a time instead of 19.
 */
const PIECE_BYTES = 1024 * 1024;

export interface ImportingFileOptions {
  database: BlockDatabase;
  /** Of the copy: made when there is none, gone on with when it was interrupted. */
  fileId: string;
  /** What is copied. Another kind of file than a Blob is owned from now on: closed when it is copied, or with this one. */
  source: Blob | BlockFile;
  /** For messages, and to know the source again. Default: the source's own. */
  name?: string;
  /** When the source was last changed, to know it again. Default: what a `File` says. */
  lastModifiedMs?: number;
  /** Does not begin to copy before `resume`. */
  paused?: boolean;
  /** Bytes copied at once, a multiple of 32 KiB. Default: 1 MiB. */
  pieceBytes?: number;
}

/** A file that is read from where it is while it is being copied into the browser's storage; read-only. */
export interface ImportingFile extends BlockFile {
  readonly fileId: string;
  /** How far the copy has come. */
  readonly progress: ImportProgress;
  /**
   * Tells of every change of `progress`.
   *
   * @returns a function that ends it.
   */
  onProgress(listener: (progress: ImportProgress) => void): () => void;
  /** Stops copying after the piece under way. What is copied stays, also when the page goes. */
  pause(): void;
  /** Goes on with a copy that is paused, or that has failed. */
  resume(): void;
  /**
   * Gives the copy up and deletes what there is of it, unless it is whole. The file goes on reading from its
   * source.
   *
   * @throws ByreError STORAGE when what there is could not be deleted.
   */
  cancel(): Promise<void>;
}

/**
 * Opens a file that can be used at once and is copied into IndexedDB meanwhile. What is not copied yet is read
 * from the source. Once all is, the source is let go of, and `openIndexedDbFile` opens the copy as any other.
 *
 * Each piece is durable before it counts; so a copy that was interrupted goes on where it stopped, when this is
 * called again with the same source. A copy that fails (QUOTA_EXCEEDED, FILE_CHANGED ...) says so in `progress`;
 * the file goes on reading from its source, and a read that fails there too throws.
 *
 * @throws ByreError FILE_CHANGED when the copy was begun of another file (its name, length and time of change
 *   say so); INVALID_ARGUMENT; STORAGE, QUOTA_EXCEEDED, IN_USE. The source is not closed then.
 */
export async function openImportingFile(options: ImportingFileOptions): Promise<ImportingFile> {
  const { database, fileId, source, pieceBytes = PIECE_BYTES } = options;
  if (pieceBytes < BLOCK_BYTES || pieceBytes % BLOCK_BYTES !== 0)
    throw new ByreError("INVALID_ARGUMENT", `Pieces of ${pieceBytes} bytes are not whole blocks of 32 KiB.`, {
      pieceBytes,
    });
  const opened = openSource(source, options.name);
  const { name, sizeBytes } = opened.file;
  const lastModifiedMs =
    options.lastModifiedMs ??
    ("lastModified" in source && typeof source.lastModified === "number" ? source.lastModified : undefined);
  const importOf: ImportSource = { name: options.name ?? name, sizeBytes, lastModifiedMs };
  const copy = await openCommittingFile({
    database,
    fileId,
    name: importOf.name,
    create: true,
    importOf,
    // A commit holds a whole piece and how far the copy has come with it.
    commitAfterMs: 0,
    commitAboveBytes: Number.POSITIVE_INFINITY,
  });
  const file = new CopiedFile(database, copy, opened, importOf, pieceBytes);
  if (!options.paused) file.resume();
  return file;
}

/** The source as it is read for the user of the file, and as it is read to be copied. */
interface OpenSource {
  readonly file: BlockFile;
  readonly forCopy: BlockFile;
}

function openSource(source: Blob | BlockFile, name: string | undefined): OpenSource {
  if (!(source instanceof Blob)) return { file: source, forCopy: source };
  const named = name === undefined ? {} : { name };
  // Copying must not push out of the cache what the guest reads again and again.
  return {
    file: createBlobFile(source, named),
    forCopy: createBlobFile(source, { ...named, cacheBytes: 0 }),
  };
}

class CopiedFile extends ReadOnlyFile implements ImportingFile {
  private readonly copying: ImportCopy;
  /** Undefined once the copy has taken over. */
  private source: OpenSource | undefined;
  /** Reads of the source under way: it is closed after them. */
  private sourceReads = 0;
  private readonly listeners = new Set<(progress: ImportProgress) => void>();

  constructor(
    private readonly database: BlockDatabase,
    private readonly copy: CommittingFile,
    private readonly opened: OpenSource,
    { name, sizeBytes }: ImportSource,
    pieceBytes: number,
  ) {
    super(name, sizeBytes, "a file of yours");
    this.source = opened;
    this.copying = new ImportCopy(opened.forCopy, copy, pieceBytes, () => this.changed());
    this.letGoOfSource();
  }

  get fileId(): string {
    return this.copy.fileId;
  }

  get progress(): ImportProgress {
    return this.copying.progress;
  }

  onProgress(listener: (progress: ImportProgress) => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  pause(): void {
    this.copying.pause();
  }

  resume(): void {
    this.copying.resume();
  }

  async cancel(): Promise<void> {
    if (!(await this.copying.cancel())) return;
    await this.copy.close();
    // Another page may have ended the copying.
    await deleteUnfinishedImport({ database: this.database, fileId: this.fileId });
  }

  readNow(offsetBytes: number, target: Uint8Array): boolean {
    this.checkOpen();
    checkRange(this.name, this.sizeBytes, offsetBytes, target.length);
    const fromCopy = this.copiedPart(offsetBytes, target.length);
    const file = this.source?.file;
    // Both have the same bytes: what the source still has in memory need not be read again.
    if (!file) return this.copy.readNow(offsetBytes, target);
    if (file.readNow(offsetBytes, target)) return true;
    return (
      fromCopy > 0 &&
      this.copy.readNow(offsetBytes, target.subarray(0, fromCopy)) &&
      file.readNow(offsetBytes + fromCopy, target.subarray(fromCopy))
    );
  }

  async read(offsetBytes: number, target: Uint8Array): Promise<void> {
    if (this.readNow(offsetBytes, target)) return;
    await this.inParts(offsetBytes, target.length, (file, start, end) =>
      file.read(offsetBytes + start, target.subarray(start, end)),
    );
  }

  async load(offsetBytes: number, lengthBytes: number): Promise<void> {
    this.checkOpen();
    checkRange(this.name, this.sizeBytes, offsetBytes, lengthBytes);
    await this.inParts(offsetBytes, lengthBytes, (file, start, end) =>
      file.load(offsetBytes + start, end - start),
    );
  }

  async close(): Promise<void> {
    if (this.closed) return;
    this.closed = true;
    await this.copying.close();
    await this.copy.close();
    await this.closeSource();
  }

  /** Does something with the part of a range that is copied, and with the rest where it still is. */
  private async inParts(
    offsetBytes: number,
    lengthBytes: number,
    work: (file: BlockFile, start: number, end: number) => Promise<void>,
  ): Promise<void> {
    const fromCopy = this.copiedPart(offsetBytes, lengthBytes);
    const parts: Promise<void>[] = [];
    if (fromCopy > 0) parts.push(this.withCopy(0, fromCopy, work));
    if (fromCopy < lengthBytes) parts.push(this.withSource((file) => work(file, fromCopy, lengthBytes)));
    await Promise.all(parts);
  }

  private async withCopy(
    start: number,
    end: number,
    work: (file: BlockFile, start: number, end: number) => Promise<void>,
  ): Promise<void> {
    try {
      await work(this.copy, start, end);
    } catch (error) {
      // Cancelled meanwhile, or the browser's storage fails: while the source is there, it has the bytes.
      if (!this.source || this.closed) throw error;
      await this.withSource((file) => work(file, start, end));
    }
  }

  private async withSource(work: (file: BlockFile) => Promise<void>): Promise<void> {
    this.sourceReads++;
    try {
      await work(this.opened.file);
    } finally {
      this.sourceReads--;
      this.letGoOfSource();
    }
  }

  /** How many bytes of a range, from its start on, are copied for good. */
  private copiedPart(offsetBytes: number, lengthBytes: number): number {
    return Math.max(0, Math.min(lengthBytes, this.copying.copiedBytes - offsetBytes));
  }

  private changed(): void {
    this.letGoOfSource();
    for (const listener of this.listeners) listener(this.progress);
  }

  private letGoOfSource(): void {
    if (this.copying.progress.state !== "copied") return;
    this.source = undefined;
    if (this.sourceReads > 0) return;
    // It was only read; nothing is lost when it cannot be closed.
    this.closeSource().catch(() => {});
  }

  private async closeSource(): Promise<void> {
    await this.opened.file.close();
    await this.opened.forCopy.close();
  }
}
