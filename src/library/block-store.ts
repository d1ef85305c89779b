import {
  type BlockDatabase,
  deleteIndexedDbFile,
  type IndexedDbFileSize,
  indexedDbFileSizes,
  openBlockDatabase,
} from "../../disk/index.ts";
import { forgetOtherSources, forgetSources } from "./import-sources.ts";
import { library } from "./library.ts";
import { ownFileIds } from "./machine-record.ts";

/** Held (shared) while files are made that no machine record names yet. */
const MAKING = "byre-making-files";

let opening: Promise<BlockDatabase> | undefined;

/** The database with what machines wrote, one connection a tab. */
export function blockStore(): Promise<BlockDatabase> {
  opening ??= openBlockDatabase().catch((error: unknown) => {
    opening = undefined;
    throw error;
  });
  return opening;
}

/** Runs `make` so that no tab takes the files it makes for leftovers before a record names them. */
export async function whileMakingFiles<T>(make: () => Promise<T>): Promise<T> {
  return navigator.locks ? await navigator.locks.request(MAKING, { mode: "shared" }, make) : await make();
}

/** All files of this browser, whoever they belong to. */
export async function storedFiles(): Promise<IndexedDbFileSize[]> {
  return indexedDbFileSizes(await blockStore());
}

/** Deletes files; there being none is no error. */
export async function deleteFiles(fileIds: readonly string[]): Promise<void> {
  const database = await blockStore();
  for (const fileId of fileIds) await deleteIndexedDbFile({ database, fileId });
  await forgetSources(fileIds);
}

/**
 * Deletes what no machine owns: files whose tab was closed before their machine was made, or in the middle
 * of a delete. Does nothing while any tab is making files.
 *
 * @returns whether it was done.
 */
export async function deleteLeftovers(): Promise<boolean> {
  if (!navigator.locks) return false;
  return navigator.locks.request(MAKING, { mode: "exclusive", ifAvailable: true }, async (lock) => {
    if (!lock) return false;
    const owned = new Set((await library.list()).flatMap(ownFileIds));
    const files = await storedFiles();
    await deleteFiles(files.map(({ fileId }) => fileId).filter((fileId) => !owned.has(fileId)));
    await forgetOtherSources(owned);
    return true;
  });
}
