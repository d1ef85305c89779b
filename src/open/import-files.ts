import { createBlobFile, openQcow2, probeImage } from "../../disk/index.ts";
import { deleteFiles } from "../library/block-store.ts";
import { rememberSource } from "../library/import-sources.ts";
import { newId, type PinnedFile } from "../library/machine-record.ts";
import { suppliedChain } from "./base-chain.ts";
import { plainName } from "./file-names.ts";
import type { SortedFiles } from "./sort-files.ts";

/** Files of the person's, pinned for a machine. Nothing of them is copied yet: that begins once the machine runs. */
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
 * from the person's own files, and from a copy in this browser as soon as there is one.
 *
 * @throws ByreError what is wrong with the image; BACKING_MISSING.
 */
export async function importFiles({ disk, behindDisk, cdrom, floppy }: SortedFiles): Promise<ImportedFiles> {
  const chain = disk ? await pinChain(disk, behindDisk) : [];
  return {
    chain,
    cdrom: cdrom && (await pinFile(cdrom)),
    floppy: floppy && (await pinFile(floppy)),
  };
}

/** Deletes what there is of the copies. */
export async function forgetImported({ chain, cdrom, floppy }: ImportedFiles): Promise<void> {
  const pins = [...chain, cdrom, floppy];
  await deleteFiles(pins.flatMap((pin) => (pin?.source.kind === "import" ? [pin.source.fileId] : [])));
}

async function pinChain(disk: File, behind: readonly File[]): Promise<PinnedFile[]> {
  const isRaw = !QCOW2_NAME.test(disk.name) && (await probeImage(createBlobFile(disk))) !== "qcow2";
  if (isRaw) return [{ ...(await pinFile(disk)), format: "raw" }];
  const chain = suppliedChain(disk, behind);
  const device = await openQcow2(await chain.openBase(), {
    writable: false,
    resolveBacking: chain.resolveBehind,
  });
  await device.close();
  const pins: PinnedFile[] = [];
  for (const { file, snapshot } of chain.used) pins.push({ ...(await pinFile(file)), snapshot });
  return pins;
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
