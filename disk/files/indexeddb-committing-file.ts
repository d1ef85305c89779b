import type { IDBPDatabase } from "idb";
import type { WriteStage } from "../block-file.ts";
import { ByreError, toByreError } from "../errors.ts";
import { checkRange } from "../ranges.ts";
import { BLOCK_BYTES, IndexedDbBlocks } from "./indexeddb-blocks.ts";
import type { BlockDatabase, BlockSchema, FileRecord, ImportSource } from "./indexeddb-database.ts";
import { storageError } from "./indexeddb-errors.ts";
import type { IndexedDbFile, IndexedDbFileOptions, IndexedDbFileStats } from "./indexeddb-file.ts";
import { IndexedDbLoader } from "./indexeddb-loader.ts";
import { type CommitRequest, commitBlocks, type ExpectedRecord } from "./indexeddb-transactions.ts";
import { SingleFlight, settled } from "./single-flight.ts";

const MIB = 1024 * 1024;
/** Long enough to gather a burst of writes, short enough that a crash loses little of a guest's work. */
const COMMIT_AFTER_MS = 1000;
/** A batch of this size commits at full speed (75-120 MB/s from 4 MiB up). */
const COMMIT_ABOVE_BYTES = 8 * MIB;
/** A guest that writes faster than storage takes it waits from here on, so that memory stays bounded. */
const MAX_DIRTY_BYTES = 64 * MIB;
const CACHE_BYTES = 64 * MIB;
/** Blocks that one piece of a long read needs in memory at once. */
const READ_PIECE_BYTES = 4 * MIB;

/** An open IndexedDB file: decides when its blocks are loaded and committed. */
export class CommittingFile implements IndexedDbFile {
  readonly name: string;
  readonly fileId: string;
  readonly writable: boolean;
  readonly transactional = true;
  private readonly database: BlockDatabase;
  private readonly blocks: IndexedDbBlocks;
  private readonly loader: IndexedDbLoader;
  private readonly commits = new SingleFlight(() => this.commit());
  /** A commit of `commitOnHide` under way. */
  private hiding: Promise<void> | undefined;
  private readonly errorListeners = new Set<(error: ByreError) => void>();
  private readonly commitAfterMs: number;
  private readonly commitAboveBytes: number;
  private readonly maxDirtyBytes: number;
  /** Marks this opening's commits; see `FileRecord`. */
  private readonly writer = crypto.randomUUID();
  private readonly incarnation: string | undefined;
  private stored: ExpectedRecord;
  /** The connection on which the file was last seen to be ours: a commit that looks at nothing is right there alone. */
  private ours: BlockDatabase["connection"];
  private importOf: ImportSource | undefined;
  private generation: number;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private commitQueued = false;
  /** More is dirty than may be: writers wait. */
  private full = false;
  private closed = false;
  private readonly counters = {
    commits: 0,
    failedCommits: 0,
    bytesCommitted: 0,
  };

  constructor(options: IndexedDbFileOptions & { name: string }, record: FileRecord) {
    this.name = options.name;
    this.fileId = options.fileId;
    this.writable = options.writable ?? true;
    this.database = options.database;
    this.blocks = new IndexedDbBlocks(record.sizeBytes, record.trims, options.cacheBytes ?? CACHE_BYTES);
    this.incarnation = record.incarnation;
    this.loader = new IndexedDbLoader(this.database, { ...record, name: this.name }, this.blocks);
    this.commitAfterMs = options.commitAfterMs ?? COMMIT_AFTER_MS;
    this.commitAboveBytes = options.commitAboveBytes ?? COMMIT_ABOVE_BYTES;
    this.maxDirtyBytes = options.maxDirtyBytes ?? MAX_DIRTY_BYTES;
    this.stored = record;
    this.ours = this.database.connection;
    this.importOf = record.importOf;
    this.generation = record.generation;
  }

  get sizeBytes(): number {
    return this.blocks.sizeBytes;
  }

  get dirtyBytes(): number {
    return this.blocks.dirtyBytes;
  }

  readNow(offsetBytes: number, target: Uint8Array): boolean {
    this.checkOpen();
    checkRange(this.name, this.sizeBytes, offsetBytes, target.length);
    return this.blocks.read(offsetBytes, target);
  }

  async read(offsetBytes: number, target: Uint8Array): Promise<void> {
    this.checkOpen();
    checkRange(this.name, this.sizeBytes, offsetBytes, target.length);
    for (let done = 0; done < target.length; done += READ_PIECE_BYTES) {
      const piece = target.subarray(done, done + READ_PIECE_BYTES);
      while (!this.readNow(offsetBytes + done, piece))
        await this.loader.load(offsetBytes + done, piece.length);
    }
  }

  async load(offsetBytes: number, lengthBytes: number): Promise<void> {
    this.checkOpen();
    checkRange(this.name, Math.max(this.sizeBytes, offsetBytes + lengthBytes), offsetBytes, lengthBytes);
    const loaded = await this.loader.load(offsetBytes, lengthBytes);
    // Who has all the bytes and asks still is a writer that `canWriteNow` holds back.
    if (!loaded && this.isFull()) await this.flush();
    this.full = this.isFull();
  }

  canWriteNow(offsetBytes: number, lengthBytes: number): boolean {
    return !this.full && this.blocks.canWrite(offsetBytes, lengthBytes);
  }

  write(offsetBytes: number, data: Uint8Array, _stage?: WriteStage): void {
    this.checkWritable();
    checkRange(this.name, Number.MAX_SAFE_INTEGER, offsetBytes, data.length);
    this.blocks.write(offsetBytes, data);
    this.scheduleCommit();
  }

  truncate(sizeBytes: number): void {
    this.checkWritable();
    checkRange(this.name, Number.MAX_SAFE_INTEGER, sizeBytes, 0);
    this.blocks.truncate(sizeBytes);
    this.scheduleCommit();
  }

  /** The commit that stores the changes of this turn makes the copy a whole file. */
  finishImport(): void {
    this.importOf = undefined;
  }

  forget(offsetBytes: number, lengthBytes: number): void {
    this.checkWritable();
    this.blocks.forget(offsetBytes, lengthBytes);
    this.full = this.isFull();
  }

  async flush(): Promise<void> {
    this.checkOpen();
    await this.commits.run(!this.blocks.hasChanges);
  }

  async close(): Promise<void> {
    if (this.closed) return;
    this.closed = true;
    this.loader.close();
    clearTimeout(this.timer);
    if (this.commits.current) await settled(this.commits.current);
    if (this.hiding) await this.hiding;
    this.blocks.clear();
  }

  stats(): IndexedDbFileStats {
    return { ...this.counters, blocksRead: this.loader.blocksRead };
  }

  onCommitError(listener: (error: ByreError) => void): () => void {
    this.errorListeners.add(listener);
    return () => this.errorListeners.delete(listener);
  }

  commitOnHide(): void {
    const connection = this.database.connection;
    if (this.closed || !this.writable || !this.blocks.hasUnstored) return;
    if (!connection || connection !== this.ours) {
      this.commitOnItsOwn();
      return;
    }
    try {
      const hiding = settled(this.store(connection, "write only")).then(() => {
        if (this.hiding === hiding) this.hiding = undefined;
      });
      this.hiding = hiding;
    } catch (error) {
      // The connection is closing; the page may still come back and commit as ever.
      this.tell(storageError(error, `store ${this.name}`, { file: this.name }));
    }
  }

  private async commit(): Promise<void> {
    this.stopTimer();
    while (this.hiding) await this.hiding;
    if (!this.blocks.hasUnstored) return;
    try {
      await this.database.use(async (connection) => {
        await this.store(connection, "checked");
        this.ours = connection;
      });
    } catch (error) {
      this.ours = undefined;
      throw storageError(error, `store ${this.name}`, {
        file: this.name,
        fileId: this.fileId,
        dirtyBytes: this.dirtyBytes,
      });
    }
    if (this.blocks.hasChanges) this.scheduleCommit();
  }

  /** Begins one commit of all that is not stored, within the call. */
  private store(connection: IDBPDatabase<BlockSchema>, kind: "checked" | "write only"): Promise<void> {
    const capture = this.blocks.capture();
    this.generation++;
    const record: FileRecord = {
      fileId: this.fileId,
      name: this.name,
      sizeBytes: capture.sizeBytes,
      blockBytes: BLOCK_BYTES,
      generation: this.generation,
      writer: this.writer,
      ...(this.incarnation !== undefined && { incarnation: this.incarnation }),
      trims: capture.trims,
      ...(this.importOf && { importOf: this.importOf }),
    };
    const request: CommitRequest = { record, deleteFrom: capture.deleteFrom, blocks: capture.blocks };
    if (kind === "checked") request.expected = this.stored;
    const failed = (error: unknown) => {
      this.blocks.failed();
      this.counters.failedCommits++;
      throw error;
    };
    try {
      return commitBlocks(connection, request).then(() => {
        this.blocks.committed(capture);
        this.full = this.isFull();
        this.stored = record;
        this.counters.commits++;
        this.counters.bytesCommitted += capture.blocks.length * BLOCK_BYTES;
      }, failed);
    } catch (error) {
      return failed(error);
    }
  }

  private scheduleCommit(): void {
    // Seen by `canWriteNow` from the next turn on: what a caller may write stays so while it writes.
    if (!this.full && this.isFull())
      queueMicrotask(() => {
        this.full = this.isFull();
      });
    if (this.blocks.uncapturedBytes >= this.commitAboveBytes && !this.commits.current && !this.commitQueued) {
      // Not here: the caller may be in the middle of an operation, and no commit may hold half of one.
      this.commitQueued = true;
      queueMicrotask(() => {
        this.commitQueued = false;
        this.commitOnItsOwn();
      });
    } else if (this.commitAfterMs > 0)
      this.timer ??= setTimeout(() => this.commitOnItsOwn(), this.commitAfterMs);
  }

  private commitOnItsOwn(): void {
    this.stopTimer();
    if (this.closed || !this.blocks.hasChanges) return;
    this.flush().catch((error: unknown) => this.tell(toByreError(error)));
  }

  private isFull(): boolean {
    return this.blocks.dirtyBytes > this.maxDirtyBytes;
  }

  private stopTimer(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
  }

  private tell(error: ByreError): void {
    for (const listener of this.errorListeners) listener(error);
  }

  private checkOpen(): void {
    if (this.closed) throw new ByreError("CLOSED", `${this.name} is closed.`, { file: this.name });
  }

  private checkWritable(): void {
    this.checkOpen();
    if (this.writable) return;
    throw new ByreError("READ_ONLY", `${this.name} was opened read-only.`, { file: this.name });
  }
}
