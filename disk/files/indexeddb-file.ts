import type { IDBPDatabase } from "idb";
import type { BlockFile, WriteStage } from "../block-file.ts";
import { ByreError, toByreError } from "../errors.ts";
import { checkRange } from "../ranges.ts";
import { BLOCK_BYTES, IndexedDbBlocks } from "./indexeddb-blocks.ts";
import type { BlockDatabase, BlockSchema, FileRecord } from "./indexeddb-database.ts";
import { storageError } from "./indexeddb-errors.ts";
import {
  type CommitRequest,
  commitBlocks,
  type ExpectedRecord,
  readBlocks,
} from "./indexeddb-transactions.ts";
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

export interface IndexedDbFileOptions {
  database: BlockDatabase;
  fileId: string;
  /** For messages. Default: the name it was created with, or `fileId`. */
  name?: string;
  /** Makes an empty file when there is none. */
  create?: boolean;
  /** Default: true. */
  writable?: boolean;
  /** Most bytes of clean blocks to keep. Default: 64 MiB. */
  cacheBytes?: number;
  /** Milliseconds from the first write to a commit on its own; 0 for none. Default: 1000. */
  commitAfterMs?: number;
  /** Bytes of changed blocks that start a commit on their own; Infinity for none. Default: 8 MiB. */
  commitAboveBytes?: number;
  /** Uncommitted bytes from which writers wait for a commit. Default: 64 MiB. */
  maxDirtyBytes?: number;
}

export interface IndexedDbFileStats {
  commits: number;
  failedCommits: number;
  bytesCommitted: number;
  blocksRead: number;
}

/** A file in IndexedDB, in blocks of 32 KiB. A commit is one transaction, whatever starts it. */
export interface IndexedDbFile extends BlockFile {
  readonly fileId: string;
  stats(): IndexedDbFileStats;
  /**
   * Tells of commits that the file started on its own and that failed. What they held stays in memory and
   * goes with the next one.
   *
   * @returns a function that ends it.
   */
  onCommitError(listener: (error: ByreError) => void): () => void;
  /**
   * Starts a commit that only writes, before it returns: of all kinds the likeliest to outlive a page that
   * is going away. For `pagehide` and `visibilitychange`. Best effort; it never throws, and nothing counts
   * as stored before its transaction says so.
   */
  commitOnHide(): void;
}

/**
 * Opens a file that lives in IndexedDB.
 *
 * @throws ByreError NOT_FOUND when there is none and `create` is not set; STORAGE, QUOTA_EXCEEDED, IN_USE.
 */
export async function openIndexedDbFile(options: IndexedDbFileOptions): Promise<IndexedDbFile> {
  const { database, fileId } = options;
  const name = options.name ?? fileId;
  try {
    const found = await database.use((connection) => connection.get("files", fileId));
    if (!found && !options.create) {
      throw new ByreError("NOT_FOUND", `${name}: there is no such file in this browser's storage.`, {
        file: name,
        fileId,
      });
    }
    const record = found ?? (await createRecord(database, fileId, name));
    if (record.blockBytes !== BLOCK_BYTES) {
      throw new ByreError(
        "STORAGE",
        `${name}: its blocks are ${record.blockBytes} bytes, and this version knows ${BLOCK_BYTES} only. ` +
          "Open it with the version of the page that made it.",
        { file: name, fileId, blockBytes: record.blockBytes },
      );
    }
    return new BlockStoreFile({ ...options, name: options.name ?? record.name }, record);
  } catch (error) {
    throw storageError(error, `open ${name}`, { file: name, fileId });
  }
}

function createRecord(database: BlockDatabase, fileId: string, name: string): Promise<FileRecord> {
  const record: FileRecord = {
    fileId,
    name,
    sizeBytes: 0,
    blockBytes: BLOCK_BYTES,
    generation: 0,
    writer: "",
    trims: [],
  };
  return database.use(async (connection) => {
    const transaction = connection.transaction("files", "readwrite", { durability: "strict" });
    // `add` fails when another page made it meanwhile, rather than emptying that page's file.
    const adding = transaction.store.add(record);
    await Promise.all([adding, transaction.done]);
    return record;
  });
}

class BlockStoreFile implements IndexedDbFile {
  readonly name: string;
  readonly fileId: string;
  readonly writable: boolean;
  readonly transactional = true;
  private readonly database: BlockDatabase;
  private readonly blocks: IndexedDbBlocks;
  private readonly loading = new Map<number, Promise<void>>();
  private readonly commits = new SingleFlight(() => this.commit());
  /** A commit of `commitOnHide` under way. */
  private hiding: Promise<void> | undefined;
  private readonly errorListeners = new Set<(error: ByreError) => void>();
  private readonly commitAfterMs: number;
  private readonly commitAboveBytes: number;
  private readonly maxDirtyBytes: number;
  /** Marks this opening's commits; see `FileRecord`. */
  private readonly writer = crypto.randomUUID();
  private stored: ExpectedRecord;
  private generation: number;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private commitQueued = false;
  /** More is dirty than may be: writers wait. */
  private full = false;
  private closed = false;
  private readonly counters: IndexedDbFileStats = {
    commits: 0,
    failedCommits: 0,
    bytesCommitted: 0,
    blocksRead: 0,
  };

  constructor(options: IndexedDbFileOptions & { name: string }, record: FileRecord) {
    this.name = options.name;
    this.fileId = options.fileId;
    this.writable = options.writable ?? true;
    this.database = options.database;
    this.blocks = new IndexedDbBlocks(record.sizeBytes, record.trims, options.cacheBytes ?? CACHE_BYTES);
    this.commitAfterMs = options.commitAfterMs ?? COMMIT_AFTER_MS;
    this.commitAboveBytes = options.commitAboveBytes ?? COMMIT_ABOVE_BYTES;
    this.maxDirtyBytes = options.maxDirtyBytes ?? MAX_DIRTY_BYTES;
    this.stored = record;
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
        await this.loadMissing(offsetBytes + done, piece.length);
    }
  }

  async load(offsetBytes: number, lengthBytes: number): Promise<void> {
    this.checkOpen();
    checkRange(this.name, Math.max(this.sizeBytes, offsetBytes + lengthBytes), offsetBytes, lengthBytes);
    const loaded = await this.loadMissing(offsetBytes, lengthBytes);
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

  async flush(): Promise<void> {
    this.checkOpen();
    await this.commits.run(!this.blocks.hasChanges);
  }

  async close(): Promise<void> {
    if (this.closed) return;
    this.closed = true;
    clearTimeout(this.timer);
    if (this.commits.current) await settled(this.commits.current);
    if (this.hiding) await this.hiding;
    this.blocks.clear();
  }

  stats(): IndexedDbFileStats {
    return { ...this.counters };
  }

  onCommitError(listener: (error: ByreError) => void): () => void {
    this.errorListeners.add(listener);
    return () => this.errorListeners.delete(listener);
  }

  commitOnHide(): void {
    const connection = this.database.connection;
    if (this.closed || !this.writable || !connection || !this.blocks.hasUnstored) return;
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
      await this.database.use((connection) => this.store(connection, "checked"));
    } catch (error) {
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
      trims: capture.trims,
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

  /** @returns whether anything had to be loaded. */
  private async loadMissing(offsetBytes: number, lengthBytes: number): Promise<boolean> {
    if (lengthBytes === 0) return false;
    const first = Math.floor(offsetBytes / BLOCK_BYTES);
    const last = Math.floor((offsetBytes + lengthBytes - 1) / BLOCK_BYTES);
    for (let loaded = false; ; loaded = true) {
      const missing: number[] = [];
      const waits = new Set<Promise<void>>();
      for (let index = first; index <= last; index++) {
        if (!this.blocks.isMissing(index)) continue;
        const loading = this.loading.get(index);
        if (loading) waits.add(loading);
        else missing.push(index);
      }
      if (missing.length > 0) waits.add(this.fetch(missing));
      if (waits.size === 0) {
        this.blocks.keep(first, last);
        return loaded;
      }
      await Promise.all(waits);
      this.checkOpen();
    }
  }

  private fetch(indexes: number[]): Promise<void> {
    const fetching = this.fetchBlocks(indexes).finally(() => {
      for (const index of indexes) this.loading.delete(index);
    });
    for (const index of indexes) this.loading.set(index, fetching);
    return fetching;
  }

  private async fetchBlocks(indexes: number[]): Promise<void> {
    try {
      const found = await this.database.use((connection) => readBlocks(connection, this.fileId, indexes));
      for (const [position, index] of indexes.entries()) {
        const bytes = found[position];
        if (bytes && bytes.length !== BLOCK_BYTES) this.refuseBlock(index, bytes.length);
        if (!this.closed) this.blocks.install(index, bytes);
      }
      this.counters.blocksRead += indexes.length;
    } catch (error) {
      throw storageError(error, `read ${this.name}`, { file: this.name, fileId: this.fileId });
    }
  }

  private refuseBlock(index: number, lengthBytes: number): never {
    throw new ByreError(
      "CORRUPT",
      `${this.name}: block ${index} (offset ${index * BLOCK_BYTES}) is stored as ${lengthBytes} bytes, not ` +
        `${BLOCK_BYTES}. The browser's storage is damaged: export what can be read and make the machine anew.`,
      { file: this.name, fileId: this.fileId, offsetBytes: index * BLOCK_BYTES, lengthBytes },
    );
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
