import {
  type BlockFile,
  ByreError,
  copyDisk,
  createQcow2,
  METADATA_MAGIC,
  openIndexedDbFile,
  openQcow2,
  type Qcow2Device,
} from "../../disk/index.ts";
import type { Machine } from "../../emulator/index.ts";
import { blockStore, deleteFiles, whileMakingFiles } from "../library/block-store.ts";
import { type MachineRecord, newId } from "../library/machine-record.ts";
import { type MachineDisk, overlayName } from "./machine-disk.ts";
import { lockMachine } from "./machine-lock.ts";

const PIECE_BYTES = 4 * 1024 * 1024;

/**
 * The bytes of a file as they are now, those not yet committed included. The caller holds the machine still
 * meanwhile. Done by pieces: a browser keeps a large Blob on disk, not in memory.
 */
export async function readWhole(file: BlockFile): Promise<Blob> {
  const pieces: Blob[] = [];
  for (let offsetBytes = 0; offsetBytes < file.sizeBytes; offsetBytes += PIECE_BYTES) {
    const piece = new Uint8Array(Math.min(PIECE_BYTES, file.sizeBytes - offsetBytes));
    await file.read(offsetBytes, piece);
    pieces.push(new Blob([piece]));
  }
  return new Blob(pieces, { type: "application/octet-stream" });
}

/** What of a machine's disk is wanted as a file. */
export interface ExportOptions {
  readonly flatten?: boolean;
  /** Default: true. */
  readonly snapshots?: boolean;
}

/**
 * The overlay of an open machine. The guest stands still while it is read as it is; without its snapshots it is
 * copied first, which needs room in this browser for the copy.
 *
 * @throws ByreError UNSUPPORTED_FEATURE for `flatten`; QUOTA_EXCEEDED; what reading meets.
 */
export async function exportOpenDisk(
  name: string,
  machine: Machine,
  disk: MachineDisk,
  { flatten = false, snapshots = true }: ExportOptions = {},
): Promise<Blob> {
  if (flatten) {
    throw new ByreError(
      "UNSUPPORTED_FEATURE",
      `${name} cannot be exported without its base yet. Export the overlay, and join the two with ` +
        `"qemu-img convert -O qcow2 '${overlayName(name)}' whole.qcow2" in the folder of the base.`,
      { machine: name },
    );
  }
  const wasRunning = machine.state === "running";
  if (wasRunning) await machine.pause();
  try {
    return snapshots ? await readWhole(disk.overlay) : await readWithoutSnapshots(disk.device);
  } finally {
    if (wasRunning) await machine.resume();
  }
}

/** An overlay with its disk as it is now and nothing else, over the same base. */
async function readWithoutSnapshots(from: Qcow2Device): Promise<Blob> {
  const fileId = newId();
  return whileMakingFiles(async () => {
    const copy = await openIndexedDbFile({
      database: await blockStore(),
      fileId,
      name: from.name,
      create: true,
    });
    try {
      await createQcow2(copy, overlayLike(from, from.sizeBytes));
      // Only what the overlay itself stores is copied; what is behind it is not needed for that.
      const to = await openQcow2(copy, { writable: true, backing: "none" });
      await copyDisk(from, to);
      await to.flush();
      return await readWhole(copy);
    } finally {
      await copy.close();
      await deleteFiles([fileId]);
    }
  });
}

/** How to make an empty overlay over the same base, which says the same of itself. */
export function overlayLike({ header }: Qcow2Device, sizeBytes: number) {
  const { clusterSizeBytes, backingName, backingFormat = "qcow2" } = header;
  return {
    sizeBytes,
    clusterSizeBytes,
    extensions: header.extensions.filter(({ magic }) => magic === METADATA_MAGIC),
    ...(backingName !== undefined && { backing: { name: backingName, format: backingFormat } }),
  };
}

/**
 * The overlay of a machine that is not open, without need of its base.
 *
 * @throws ByreError IN_USE when a tab has it open; STORAGE.
 */
export async function exportStoredOverlay(record: MachineRecord): Promise<Blob> {
  const lock = await lockMachine(record.id, record.name);
  try {
    const file = await openIndexedDbFile({
      database: await blockStore(),
      fileId: record.overlayFileId,
      name: overlayName(record.name),
      writable: false,
    });
    try {
      return await readWhole(file);
    } finally {
      await file.close();
    }
  } finally {
    lock.release();
  }
}

/** Hands a file to the person, as a download. */
export function saveAs(blob: Blob, fileName: string): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = fileName;
  link.click();
  // The download has its own hold on the bytes by the next turns; a minute is ample.
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
