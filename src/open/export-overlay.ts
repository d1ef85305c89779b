import { type BlockFile, openIndexedDbFile } from "../../disk/index.ts";
import { blockStore } from "../library/block-store.ts";
import type { MachineRecord } from "../library/machine-record.ts";
import { overlayName } from "./machine-disk.ts";
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
