import type { BlockFile } from "../block-file.ts";
import { ByreError } from "../errors.ts";
import { BLOCK_BYTES } from "./indexeddb-blocks.ts";
import { CommittingFile } from "./indexeddb-committing-file.ts";
import type { BlockDatabase, FileRecord, ImportSource } from "./indexeddb-database.ts";
import { storageError } from "./indexeddb-errors.ts";

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
   * as stored before its transaction says so. Where the file may be gone it is a commit like any other.
   */
  commitOnHide(): void;
}

/**
 * Opens a file that lives in IndexedDB.
 *
 * @throws ByreError NOT_FOUND when there is none and `create` is not set; IMPORT_UNFINISHED for a copy that is
 *   not whole; STORAGE, QUOTA_EXCEEDED, IN_USE.
 */
export function openIndexedDbFile(options: IndexedDbFileOptions): Promise<IndexedDbFile> {
  return openCommittingFile(options);
}

/**
 * Opens a file as `openIndexedDbFile` does; with `importOf` the copy of that one, whole or not.
 *
 * @throws ByreError FILE_CHANGED when it is the copy of another.
 */
export async function openCommittingFile(
  options: IndexedDbFileOptions & { importOf?: ImportSource },
): Promise<CommittingFile> {
  const { database, fileId, importOf } = options;
  const name = options.name ?? fileId;
  try {
    const found = await database.use((connection) => connection.get("files", fileId));
    if (!found && !options.create) {
      throw new ByreError("NOT_FOUND", `${name}: there is no such file in this browser's storage.`, {
        file: name,
        fileId,
      });
    }
    const record = found ?? (await createRecord(database, fileId, name, importOf));
    checkImport(record, importOf, name);
    if (record.blockBytes !== BLOCK_BYTES) {
      throw new ByreError(
        "STORAGE",
        `${name}: its blocks are ${record.blockBytes} bytes, and this version knows ${BLOCK_BYTES} only. ` +
          "Open it with the version of the page that made it.",
        { file: name, fileId, blockBytes: record.blockBytes },
      );
    }
    return new CommittingFile({ ...options, name: options.name ?? record.name }, record);
  } catch (error) {
    throw storageError(error, `open ${name}`, { file: name, fileId });
  }
}

function createRecord(
  database: BlockDatabase,
  fileId: string,
  name: string,
  importOf: ImportSource | undefined,
): Promise<FileRecord> {
  const record: FileRecord = {
    fileId,
    name,
    sizeBytes: 0,
    blockBytes: BLOCK_BYTES,
    generation: 0,
    writer: "",
    incarnation: crypto.randomUUID(),
    trims: [],
    // Of an empty file nothing is left to copy.
    ...(importOf && importOf.sizeBytes > 0 && { importOf }),
  };
  return database.use(async (connection) => {
    const transaction = connection.transaction("files", "readwrite", { durability: "strict" });
    // `add` fails when another page made it meanwhile, rather than emptying that page's file.
    const adding = transaction.store.add(record);
    await Promise.all([adding, transaction.done]);
    return record;
  });
}

/** A copy is for who knows of what it is one, and only of that. */
function checkImport(record: FileRecord, wanted: ImportSource | undefined, name: string): void {
  const { fileId, sizeBytes, importOf: begun } = record;
  if (!wanted && begun)
    throw new ByreError(
      "IMPORT_UNFINISHED",
      `${name}: only ${sizeBytes} of the ${begun.sizeBytes} bytes of "${begun.name}" were copied into this browser. ` +
        "Drop that file on the page again: the copying goes on where it stopped.",
      { file: name, fileId, copiedBytes: sizeBytes, sizeBytes: begun.sizeBytes },
    );
  if (!wanted) return;
  const same = begun
    ? begun.name === wanted.name &&
      begun.sizeBytes === wanted.sizeBytes &&
      begun.lastModifiedMs === wanted.lastModifiedMs
    : sizeBytes === wanted.sizeBytes;
  if (same) return;
  throw new ByreError(
    "FILE_CHANGED",
    `${describe(wanted)} is not the file that was being copied, or it was changed since. That was ` +
      `${describe(begun ?? { name, sizeBytes, lastModifiedMs: undefined })}. Give that file again, or import this one anew.`,
    { file: wanted.name, fileId, sizeBytes: wanted.sizeBytes },
  );
}

function describe({ name, sizeBytes, lastModifiedMs }: ImportSource): string {
  const changed =
    lastModifiedMs === undefined ? "" : `, last changed ${new Date(lastModifiedMs).toISOString()}`;
  return `"${name}" (${sizeBytes} bytes${changed})`;
}
