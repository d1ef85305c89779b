import { unwrap } from "idb";
import { BLOCK_BYTES } from "./indexeddb-blocks.ts";
import type { BlockDatabase, ImportSource } from "./indexeddb-database.ts";
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
export async function deleteIndexedDbFile(options: {
  database: BlockDatabase;
  fileId: string;
}): Promise<void> {
  const { database, fileId } = options;
  try {
    await database.use((connection) => {
      const transaction = unwrap(connection).transaction(["files", "blocks"], "readwrite", {
        durability: "strict",
      });
      transaction.objectStore("files").delete(fileId);
      transaction.objectStore("blocks").delete(blockRange(fileId));
      return new Promise<void>((resolve, reject) => {
        transaction.oncomplete = () => resolve();
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
