import {
  type BlockFile,
  ByreError,
  type ImportingFile,
  indexedDbFileSizes,
  openImportingFile,
  openIndexedDbFile,
  toByreError,
} from "../../disk/index.ts";
import { blockStore } from "../library/block-store.ts";
import { knownSource, type LastingFile, rememberSource } from "../library/import-sources.ts";
import type { ImportSource, PinnedFile } from "../library/machine-record.ts";

/** A file of the person's that is needed again: its copy in this browser is not whole. */
export interface FileQuestion {
  readonly fileName: string;
  readonly sizeBytes: number;
  /** Bytes of it that were copied. */
  readonly copiedBytes: number;
  /** The browser can read it again if the person allows it. */
  readonly handle: LastingFile | undefined;
  /** What was wrong with the file that was given last. */
  readonly problem: ByreError | undefined;
}

/** Resolves with the file; rejects to open nothing. */
export type AskFile = (question: FileQuestion) => Promise<File>;

/** What opening a file has to do with a copy that is not whole. */
export interface ImportHooks {
  /** Absent: there is nobody to ask, and it ends with IMPORT_UNFINISHED. */
  readonly askFile?: AskFile | undefined;
  /** Is told of every file that is read from the person's own; its copying waits for `resume`. */
  readonly onImporting?: ((file: ImportingFile) => void) | undefined;
}

/** A file that a machine was made on and that was copied into this browser, at least in part. */
export type ImportedPin = Pick<PinnedFile, "name" | "identity"> & { readonly source: ImportSource };

/**
 * Opens such a file: the copy, or while that is not whole the person's own, which is asked for where it is not at
 * hand.
 *
 * @throws ByreError IMPORT_UNFINISHED; what `askFile` and the storage throw.
 */
export async function openImported(
  pin: ImportedPin,
  { askFile, onImporting }: ImportHooks,
): Promise<BlockFile> {
  const { name, source, identity } = pin;
  const { fileId, lastModifiedMs } = source;
  const database = await blockStore();
  let problem: ByreError | undefined;
  try {
    return await openIndexedDbFile({ database, fileId, name, writable: false });
  } catch (error) {
    const { code } = toByreError(error);
    // There is no copy at all before it is begun, and after it was given up.
    const unfinished = code === "IMPORT_UNFINISHED" || (code === "NOT_FOUND" && lastModifiedMs !== undefined);
    if (!unfinished) throw error;
    if (code === "IMPORT_UNFINISHED") problem = toByreError(error);
  }

  const open = async (file: File): Promise<BlockFile> => {
    checkSame(pin, file);
    await checkReadable(file);
    // Called as the machine knows it: a file that was renamed is still the same.
    const importing = await openImportingFile({ database, fileId, source: file, name, paused: true });
    await rememberSource(fileId, file);
    onImporting?.(importing);
    return importing;
  };
  const known = await knownSource(fileId);
  if (known.file) {
    try {
      return await open(known.file);
    } catch (error) {
      if (toByreError(error).code !== "FILE_CHANGED") throw error;
      problem = toByreError(error);
    }
  }
  if (!askFile) throw problem ?? neededAgain(pin);
  const copiedBytes = (await indexedDbFileSizes(database)).find((file) => file.fileId === fileId)?.sizeBytes;
  problem = problem?.code === "FILE_CHANGED" ? problem : undefined;
  for (;;) {
    const { sizeBytes } = identity;
    const question = { fileName: name, sizeBytes, copiedBytes: copiedBytes ?? 0, handle: known.handle };
    const file = await askFile({ ...question, problem });
    try {
      return await open(file);
    } catch (error) {
      if (toByreError(error).code !== "FILE_CHANGED") throw error;
      problem = toByreError(error);
    }
  }
}

/** @throws ByreError FILE_CHANGED for another file than the machine was made on. */
function checkSame({ name, source, identity }: ImportedPin, file: File): void {
  const sameSize = file.size === identity.sizeBytes;
  if (sameSize && (source.lastModifiedMs === undefined || file.lastModified === source.lastModifiedMs))
    return;
  throw new ByreError(
    "FILE_CHANGED",
    sameSize
      ? `${file.name} was changed since the machine was made on ${name}. A machine goes on only over the file as it was.`
      : `${file.name} has ${file.size} bytes, and ${name}, which the machine was made on, has ${identity.sizeBytes}. ` +
          "Choose that file.",
    { file: file.name, sizeBytes: file.size, wantedBytes: identity.sizeBytes },
  );
}

/** @throws ByreError FILE_CHANGED for one that is not where it was: its size and time say nothing of that. */
async function checkReadable(file: File): Promise<void> {
  try {
    await file.slice(0, 1).arrayBuffer();
  } catch {
    throw new ByreError(
      "FILE_CHANGED",
      `${file.name} cannot be read: it was moved, renamed or changed since the page was given it. Choose it again.`,
      { file: file.name },
    );
  }
}

function neededAgain({ name }: ImportedPin): ByreError {
  return new ByreError(
    "IMPORT_UNFINISHED",
    `${name} was not copied into this browser. Open the machine on the page and give it that file.`,
    { file: name },
  );
}
