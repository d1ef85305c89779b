import {
  ByreError,
  createBlobFile,
  type IndexedDbFile,
  openIndexedDbFile,
  openQcow2,
  probeImage,
  readQcow2Info,
  toByreError,
} from "../../disk/index.ts";
import { blockStore, deleteFiles } from "../library/block-store.ts";
import { newId, type PinnedFile } from "../library/machine-record.ts";
import { suppliedChain } from "./base-chain.ts";
import { cancelled } from "./emulator-files.ts";
import { lastPart, plainName } from "./file-names.ts";
import type { Progress } from "./progress.ts";
import { parseNameAtSnapshot } from "./snapshot-file-name.ts";

/** One piece of a copy: large enough for full speed, small enough to follow and to call off. */
const PIECE_BYTES = 8 * 1024 * 1024;

/**
 * Copies an image and the files behind it into this browser's storage, after the driver has understood them
 * all; so a machine needs nothing of the person's disk any more.
 *
 * @param files one image to run, and perhaps its backing files.
 * @returns the pins of the chain, the image first.
 * @throws ByreError what is wrong with the image; BACKING_MISSING; INVALID_ARGUMENT when it is not clear
 *   which file to run; QUOTA_EXCEEDED; CANCELLED. Nothing of a failed copy is left behind.
 */
export async function importFiles(
  files: readonly File[],
  progress: Progress,
  signal: AbortSignal,
): Promise<PinnedFile[]> {
  const base = await fileToRun(files);
  const chain = suppliedChain(
    base,
    files.filter((file) => file !== base),
  );
  const device = await openQcow2(await chain.openBase(), {
    writable: false,
    resolveBacking: chain.resolveBehind,
  });
  await device.close();

  for (const { file } of chain.used) progress.begin(`copy ${file.name}`, `Copying ${file.name}`, file.size);
  const copied: PinnedFile[] = [];
  try {
    for (const { file, snapshot } of chain.used)
      copied.push({ ...(await copyFile(file, progress, signal)), snapshot });
    return copied;
  } catch (error) {
    await deleteFiles(copied.flatMap(({ source }) => (source.kind === "import" ? [source.fileId] : [])));
    throw error;
  }
}

/** Of several files, the one that no other is built on. */
async function fileToRun(files: readonly File[]): Promise<File> {
  const [first] = files;
  if (!first) throw new ByreError("INVALID_ARGUMENT", "No file was dropped.");
  if (files.length === 1) return first;
  const asked = new Set<string>();
  for (const file of files) {
    const blob = createBlobFile(file, { name: plainName(file.name) });
    if ((await probeImage(blob)) !== "qcow2") continue;
    const { backingName } = await readQcow2Info(blob);
    if (backingName === undefined) continue;
    asked.add(lastPart(backingName));
    const part = parseNameAtSnapshot(lastPart(backingName));
    if (part) asked.add(part.fileName);
  }
  const tops = files.filter((file) => !asked.has(file.name));
  const [top] = tops;
  if (top && tops.length === 1) return top;
  throw new ByreError(
    "INVALID_ARGUMENT",
    tops.length === 0
      ? "These images are built on each other in a circle, so none of them can be run."
      : `It is not clear which of ${tops.map(({ name }) => name).join(", ")} to run: none is built on another. ` +
          "Drop one image at a time, with its backing files.",
  );
}

async function copyFile(file: File, progress: Progress, signal: AbortSignal): Promise<PinnedFile> {
  const name = plainName(file.name);
  const key = `copy ${file.name}`;
  const fileId = newId();
  const source = createBlobFile(file, { name });
  let target: IndexedDbFile | undefined;
  try {
    target = await openIndexedDbFile({ database: await blockStore(), fileId, name, create: true });
    target.truncate(file.size);
    for (let offsetBytes = 0; offsetBytes < file.size; offsetBytes += PIECE_BYTES) {
      if (signal.aborted) throw cancelled();
      const piece = new Uint8Array(Math.min(PIECE_BYTES, file.size - offsetBytes));
      await source.read(offsetBytes, piece);
      // A hole reads as zeros and takes no storage.
      if (piece.some((byte) => byte !== 0)) target.write(offsetBytes, piece);
      await target.flush();
      progress.advance(key, offsetBytes + piece.length);
    }
    await target.flush();
    await target.close();
    progress.finish(key);
  } catch (error) {
    await target?.close();
    await deleteFiles([fileId]);
    throw withRoomHint(toByreError(error), file);
  }
  return { name, source: { kind: "import", fileId }, identity: { sizeBytes: file.size } };
}

function withRoomHint(error: ByreError, file: File): ByreError {
  if (error.code !== "QUOTA_EXCEEDED") return error;
  return new ByreError(
    "QUOTA_EXCEEDED",
    `${file.name} does not fit into this browser's storage. Delete machines you no longer need, or free disk ` +
      "space, and drop it again. Nothing of it was kept.",
    { file: file.name, sizeBytes: file.size },
    error,
  );
}
