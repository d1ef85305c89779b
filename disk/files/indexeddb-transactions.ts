import { type IDBPDatabase, unwrap } from "idb";
import { ByreError } from "../errors.ts";
import type { BlockSchema, FileRecord } from "./indexeddb-database.ts";

/** A file as an opening of it knows it. */
export type StoredFile = Pick<FileRecord, "fileId" | "name" | "incarnation">;

/** What a commit expects to find: the record of the last commit this opening made or saw. */
export type ExpectedRecord = Pick<FileRecord, "generation" | "writer">;

export interface CommitRequest {
  record: FileRecord;
  /** Left out, nothing is checked: then the transaction only writes and can outlive its page. */
  expected?: ExpectedRecord;
  /** Blocks from here on are deleted first; Infinity for none. */
  deleteFrom: number;
  blocks: readonly (readonly [index: number, bytes: Uint8Array<ArrayBuffer>])[];
}

/**
 * Stores blocks and file record in one transaction. Everything is handed over within the call (a `put`
 * clones its value), so the caller may change the blocks as soon as it returns.
 *
 * Uses plain requests, not idb's: an aborted transaction would reject a promise for each of hundreds of
 * puts that nobody waits for.
 *
 * @returns a promise that settles with the transaction. Quota arrives only there, as the transaction's error.
 */
export function commitBlocks(connection: IDBPDatabase<BlockSchema>, request: CommitRequest): Promise<void> {
  const transaction = unwrap(connection).transaction(["files", "blocks"], "readwrite", {
    durability: "strict",
  });
  const { fileId } = request.record;
  const blocks = transaction.objectStore("blocks");
  const files = transaction.objectStore("files");
  let refusal: ByreError | undefined;
  const settled = new Promise<void>((resolve, reject) => {
    transaction.oncomplete = () => resolve();
    transaction.onabort = () =>
      reject(refusal ?? transaction.error ?? new DOMException("The transaction was aborted.", "AbortError"));
  });
  try {
    const found: IDBRequest<FileRecord | undefined> | undefined = request.expected && files.get(fileId);
    if (request.deleteFrom !== Number.POSITIVE_INFINITY)
      blocks.delete(blockRange(fileId, request.deleteFrom));
    for (const [index, bytes] of request.blocks) blocks.put(bytes, [fileId, index]);
    files.put(request.record);
    if (found) {
      found.onsuccess = () => {
        refusal = refuse(request, found.result);
        if (refusal) transaction.abort();
        else transaction.commit();
      };
    } else transaction.commit();
  } catch (error) {
    transaction.abort();
    settled.catch(() => {});
    throw error;
  }
  return settled;
}

function refuse(request: CommitRequest, found: FileRecord | undefined): ByreError | undefined {
  const { fileId, name } = request.record;
  if (!isStill(request.record, found)) return storageGone(name, fileId);
  // A lost connection can hide that a commit of ours succeeded; every commit holds what that one held.
  if (found.writer === request.record.writer) return;
  if (found.generation === request.expected?.generation && found.writer === request.expected.writer) return;
  return new ByreError(
    "IN_USE",
    `${name}: another page has written to it since it was opened here, so nothing was stored. Close one of ` +
      "the two; what was written here is only in memory.",
    { file: name, fileId, generation: found.generation },
  );
}

/** Whether the stored file is the one that was opened; it may have been deleted since, and made again. */
function isStill(opened: StoredFile, found: FileRecord | undefined): found is FileRecord {
  return found !== undefined && found.incarnation === opened.incarnation;
}

function storageGone(name: string, fileId: string): ByreError {
  return new ByreError(
    "NOT_FOUND",
    `${name}: its storage was deleted while it was open. What was written since the last commit is only in ` +
      "memory: export it before you close the page.",
    { file: name, fileId },
  );
}

/**
 * Reads blocks in one transaction, all requests at once: that beats `getAll` and cursors from 16 KiB up.
 *
 * @returns for each index its bytes, undefined where no block is stored.
 * @throws ByreError NOT_FOUND when the file itself is gone (a person cleared the site's data), even where there is
 *   another with its id by now: a block that is not there is zeros only in the file that was opened.
 */
export function readBlocks(
  connection: IDBPDatabase<BlockSchema>,
  file: StoredFile,
  indexes: readonly number[],
): Promise<(Uint8Array<ArrayBuffer> | undefined)[]> {
  const { fileId, name } = file;
  return new Promise((resolve, reject) => {
    const transaction = unwrap(connection).transaction(["files", "blocks"], "readonly");
    const store = transaction.objectStore("blocks");
    const results = new Array<Uint8Array<ArrayBuffer> | undefined>(indexes.length).fill(undefined);
    let left = indexes.length;
    transaction.onabort = () =>
      reject(transaction.error ?? new DOMException("The transaction was aborted.", "AbortError"));
    // Requests are answered in their order, so this rejects before the last block resolves.
    const record: IDBRequest<FileRecord | undefined> = transaction.objectStore("files").get(fileId);
    record.onsuccess = () => {
      if (!isStill(file, record.result)) reject(storageGone(name, fileId));
    };
    for (const [position, index] of indexes.entries()) {
      const request: IDBRequest<Uint8Array<ArrayBuffer> | undefined> = store.get([fileId, index]);
      request.onsuccess = () => {
        results[position] = request.result;
        left--;
        // Within the transaction, so before any later one that changes these blocks completes.
        if (left === 0) resolve(results);
      };
    }
  });
}

/** Keys of a file's blocks from an index on. An array sorts after every number, so it ends the range. */
export function blockRange(fileId: string, fromBlock = 0): IDBKeyRange {
  return IDBKeyRange.bound([fileId, fromBlock], [fileId, []]);
}
