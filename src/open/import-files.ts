import {
  type BlockFile,
  ByreError,
  createBlobFile,
  createIso,
  type ImportingFile,
  openImportingFile,
  openQcow2,
  probeImage,
} from "../../disk/index.ts";
import { blockStore, deleteFiles } from "../library/block-store.ts";
import { pathOf, rememberSource } from "../library/import-sources.ts";
import { newId, type PinnedFile } from "../library/machine-record.ts";
import { type RemoteOptions, type SuppliedFile, suppliedChain } from "./base-chain.ts";
import { cancelled } from "./emulator-files.ts";
import { plainName } from "./file-names.ts";
import { type SortedFiles, sortFiles } from "./sort-files.ts";

/** Files of the person's, pinned for a machine. Images are not copied yet: that begins once the machine runs. */
export interface ImportedFiles {
  /** The image to run and what is behind it, from the top down; empty without one. */
  readonly chain: readonly PinnedFile[];
  readonly cdrom: PinnedFile | undefined;
  readonly floppy: PinnedFile | undefined;
}

/** These names promise a qcow2 image; what is none is damaged, and no raw disk. */
const QCOW2_NAME = /\.qcow2?$/i;

/**
 * Looks into an image and the files behind it, until the driver has understood them all, and pins them: they are read
 * from the person's own files, and from a copy in this browser as soon as there is one. A floppy, and files that are no
 * images, which become a CD, are copied here and now.
 *
 * @throws ByreError what is wrong with the image; BACKING_MISSING; of what is copied as `importDisc`. Nothing is left behind
 *   then.
 */
export async function importFiles(sorted: SortedFiles, options: RemoteOptions): Promise<ImportedFiles> {
  const { disk, behindDisk, cdrom, floppy, plain } = sorted;
  const chain = disk ? await pinChain(disk, behindDisk) : [];
  let disc: PinnedFile | undefined;
  try {
    disc = cdrom ? await pinFile(cdrom) : plain.length > 0 ? await importDisc(plain, options) : undefined;
    // A machine writes to its floppy, and so needs one of its own.
    const own = floppy && createBlobFile(floppy, { name: plainName(floppy.name) });
    return { chain, cdrom: disc, floppy: own && (await importNow(own, floppy.name, options)) };
  } catch (error) {
    await forgetImported({ chain, cdrom: disc, floppy: undefined });
    throw error;
  }
}

/**
 * Makes a CD of files in this browser's storage.
 *
 * @throws ByreError INVALID_ARGUMENT, TOO_LARGE for what no CD can hold; QUOTA_EXCEEDED, CANCELLED, what reading the files
 *   meets. Nothing is left behind then.
 */
export async function importDisc(
  files: readonly File[],
  options: Pick<RemoteOptions, "progress" | "signal">,
): Promise<PinnedFile> {
  const [first] = files;
  const name = files.length === 1 && first ? `${plainName(first.name)}.iso` : "files.iso";
  const disc = createIso(
    files.map((file) => ({ path: pathOf(file), content: file, mtimeMs: file.lastModified })),
    { name },
  );
  return importNow(disc, `CD of ${files.length === 1 ? first?.name : `${files.length} files`}`, options);
}

/** Copies a file wholly before it is used. Closes it. */
async function importNow(
  source: BlockFile,
  label: string,
  { progress, signal }: Pick<RemoteOptions, "progress" | "signal">,
): Promise<PinnedFile> {
  const { name, sizeBytes } = source;
  const fileId = newId();
  const key = `copy ${fileId}`;
  progress.begin(key, label, sizeBytes);
  const copy = await openImportingFile({ database: await blockStore(), fileId, source, name, paused: true });
  try {
    await copied(copy, signal, (bytes) => progress.advance(key, bytes));
    progress.finish(key);
  } catch (error) {
    await copy.close();
    await deleteFiles([fileId]);
    throw error;
  }
  await copy.close();
  return { name, source: { kind: "import", fileId }, identity: { sizeBytes } };
}

/** Copies a file to its end. */
function copied(
  copy: ImportingFile,
  signal: AbortSignal,
  onBytes: (copiedBytes: number) => void,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const look = () => {
      const { state, copiedBytes, error } = copy.progress;
      onBytes(copiedBytes);
      if (state === "copied") resolve();
      else if (signal.aborted) reject(cancelled());
      else if (state === "failed") reject(error);
    };
    copy.onProgress(look);
    signal.addEventListener("abort", look, { once: true });
    look();
    copy.resume();
  });
}

/** Deletes what there is of the copies. */
export async function forgetImported({ chain, cdrom, floppy }: ImportedFiles): Promise<void> {
  const pins = [...chain, cdrom, floppy];
  await deleteFiles(pins.flatMap((pin) => (pin?.source.kind === "import" ? [pin.source.fileId] : [])));
}

/**
 * Finds out whether a machine can be made of files; copies and keeps nothing.
 *
 * @throws ByreError what is wrong with them, as `sortRunnable` and `importFiles`.
 */
export async function checkFiles(files: readonly File[]): Promise<void> {
  const { disk, behindDisk } = await sortRunnable(files);
  if (disk) await usedChain(disk, behindDisk);
}

/**
 * Sorts files of which a machine is to be made.
 *
 * @throws ByreError as `sortFiles`; INVALID_ARGUMENT where none of them is to be run.
 */
export async function sortRunnable(files: readonly File[]): Promise<SortedFiles> {
  const sorted = await sortFiles(files);
  if (!sorted.disk && !sorted.cdrom && !sorted.floppy) throw nothingToRun(sorted.plain);
  return sorted;
}

async function pinChain(disk: File, behind: readonly File[]): Promise<PinnedFile[]> {
  const used = await usedChain(disk, behind);
  if (!used) return [{ ...(await pinFile(disk)), format: "raw" }];
  const pins: PinnedFile[] = [];
  for (const { file, snapshot } of used) pins.push({ ...(await pinFile(file)), snapshot });
  return pins;
}

/** The files that the driver opened to understand an image, from the top down; nothing for a raw disk. */
async function usedChain(disk: File, behind: readonly File[]): Promise<readonly SuppliedFile[] | undefined> {
  const isRaw = !QCOW2_NAME.test(disk.name) && (await probeImage(createBlobFile(disk))) !== "qcow2";
  if (isRaw) return undefined;
  const chain = suppliedChain(disk, behind);
  const device = await openQcow2(await chain.openBase(), {
    writable: false,
    resolveBacking: chain.resolveBehind,
  });
  await device.close();
  return chain.used;
}

async function pinFile(file: File): Promise<PinnedFile> {
  const fileId = newId();
  await rememberSource(fileId, file);
  return {
    name: plainName(file.name),
    source: { kind: "import", fileId, lastModifiedMs: file.lastModified },
    identity: { sizeBytes: file.size },
  };
}

function nothingToRun([file]: readonly File[]): ByreError {
  return new ByreError(
    "INVALID_ARGUMENT",
    `${file?.name} is not an image that a machine could be made of. Drop it while a machine runs to give it to that one.`,
    { file: file?.name },
  );
}
