import { unwrap } from "idb";
import { BLOCK_BYTES } from "./indexeddb-blocks.ts";
import type { BlockDatabase, FileRecord, ImportSource } from "./indexeddb-database.ts";
import { storageError } from "./indexeddb-errors.ts";
import { blockRange } from "./indexeddb-transactions.ts";

export interface IndexedDbFileSize {
  fileId: string;
  name: string;
  /** Length of the file. */
  sizeBytes: number;
  /** What it takes in the browser's storage: holes take nothing. */
  storedBytes: number;
  /** The file that this one is an unfinished copy of; undefined for all other files. */
  importOf: ImportSource | undefined;
}

/**
 * Deletes a file and all its blocks, in one transaction. There being none is no error. An opening of it
 * that is still there reads what it has cached, and its next commit fails with NOT_FOUND.
 *
 * @throws ByreError STORAGE.
 */
export async function deleteIndexedDbFile(options: DeleteOptions): Promise<void> {
  await deleteWhere(options, () => true);
}

/**
 * Deletes what there is of a copy, as `deleteIndexedDbFile`, unless it is whole by now.
 *
 * @returns false for one that is whole: it is still there.
 * @throws ByreError STORAGE.
 */
export function deleteUnfinishedImport(options: DeleteOptions): Promise<boolean> {
  return deleteWhere(options, ({ importOf }) => importOf !== undefined);
}

interface DeleteOptions {
  database: BlockDatabase;
  fileId: string;
}

/** @returns false for a file that is there and stays. */
async function deleteWhere(
  { database, fileId }: DeleteOptions,
  condition: (record: FileRecord) => boolean,
): Promise<boolean> {
  try {
    return await database.use((connection) => {
      const transaction = unwrap(connection).transaction(["files", "blocks"], "readwrite", {
        durability: "strict",
      });
      const files = transaction.objectStore("files");
      let stays = false;
      // In the same transaction: another page may store the last piece at any moment.
      const found: IDBRequest<FileRecord | undefined> = files.get(fileId);
      found.onsuccess = () => {
        stays = found.result !== undefined && !condition(found.result);
        if (stays) return;
        files.delete(fileId);
        transaction.objectStore("blocks").delete(blockRange(fileId));
      };
      return new Promise<boolean>((resolve, reject) => {
        transaction.oncomplete = () => resolve(!stays);
        transaction.onabort = () => reject(transaction.error);
      });
    });
  } catch (error) {
    throw storageError(error, `delete ${fileId}`, { fileId });
  }
}

/**
 * The files of a database and what each takes.
 *
 * @throws ByreError STORAGE.
 */
export async function indexedDbFileSizes(database: BlockDatabase): Promise<IndexedDbFileSize[]> {
  try {
    return await database.use(async (connection) => {
      const transaction = connection.transaction(["files", "blocks"], "readonly");
      const records = await transaction.objectStore("files").getAll();
      const blocks = transaction.objectStore("blocks");
      const counts = await Promise.all(records.map(({ fileId }) => blocks.count(blockRange(fileId))));
      return records.map(({ fileId, name, sizeBytes, importOf }, index) => ({
        fileId,
        name,
        sizeBytes,
        storedBytes: (counts[index] ?? 0) * BLOCK_BYTES,
        importOf,
      }));
    });
  } catch (error) {
    throw storageError(error, "list the files", { database: database.name });
  }
}
