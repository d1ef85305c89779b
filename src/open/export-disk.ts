import {
  type BlockFile,
  ByreError,
  copyDisk,
  createQcow2,
  exportImage,
  METADATA_MAGIC,
  openIndexedDbFile,
  openQcow2,
  type Qcow2Device,
} from "../../disk/index.ts";
import type { Machine } from "../../emulator/index.ts";
import { blockStore, deleteFiles, whileMakingFiles } from "../library/block-store.ts";
import { type MachineRecord, newId } from "../library/machine-record.ts";
import { recordOf } from "./change-machine.ts";
import { type MachineDisk, openMachineDisk, overlayName } from "./machine-disk.ts";
import { lockMachine } from "./machine-lock.ts";
import type { WorkOptions } from "./machine-session.ts";
import { createProgress } from "./progress.ts";
import { statePacker } from "./state-packer.ts";

const PIECE_BYTES = 4 * 1024 * 1024;

/** Where an export goes: closed at its end, aborted when it fails. */
export type ExportTarget = WritableStream<Uint8Array<ArrayBuffer>>;

/** What of a machine's disk is wanted as a file. */
export interface ExportOptions extends WorkOptions {
  /** true: the whole disk, which needs no base. Default: the overlay alone. */
  readonly flatten?: boolean;
  /** With `flatten`. true: packed. false: unpacked. Default: each piece as it is stored, which is fastest. */
  readonly compress?: boolean;
  /** With the saved states. Default: true. */
  readonly snapshots?: boolean;
}

/**
 * Writes the disk of an open machine. The guest stands still until that is done, and runs on then. An overlay without
 * its snapshots is copied first, which needs room in this browser for the copy.
 *
 * @throws ByreError INVALID_ARGUMENT, CANCELLED, QUOTA_EXCEEDED; FILE_CHANGED when somebody lets the guest run
 *   meanwhile; what reading and the target meet.
 */
export async function exportOpenDisk(
  name: string,
  machine: Machine,
  { device, overlay }: MachineDisk,
  target: ExportTarget,
  options: ExportOptions = {},
): Promise<void> {
  // Read anew each time: it changes by itself.
  const state = () => machine.state;
  const wasRunning = state() === "running";
  if (wasRunning) await machine.pause();
  const wentOn = new AbortController();
  const failed = state() === "error";
  const end = machine.onChange(() => {
    // A retry writes what could not be written, whatever the machine is then.
    if (state() === "running" || (failed && state() !== "error")) wentOn.abort();
  });
  const signal = options.signal ? AbortSignal.any([options.signal, wentOn.signal]) : wentOn.signal;
  try {
    await writeDisk(device, overlay, target, { ...options, signal });
  } catch (error) {
    if (!wentOn.signal.aborted) throw error;
    throw new ByreError(
      "FILE_CHANGED",
      `${name} went on while its disk was being exported, so the file is not whole. Export it again, and leave ` +
        "the machine paused until the file is written.",
      { machine: name },
      error,
    );
  } finally {
    end();
    if (wasRunning && state() === "paused") await machine.resume();
  }
}

/**
 * Writes the disk of a machine that is not open. Its overlay alone needs no base.
 *
 * @throws ByreError IN_USE when a tab has it open; STORAGE; with `flatten` FILE_CHANGED, and what fetching the base
 *   meets; as `exportOpenDisk`.
 */
export async function exportStoredDisk(
  record: MachineRecord,
  target: ExportTarget,
  options: ExportOptions = {},
): Promise<void> {
  await orAbort(target, async () => {
    const lock = await lockMachine(record.id, record.name);
    try {
      const { device, overlay } = await openStored(record, options);
      try {
        await writeDisk(device, overlay, target, options);
      } finally {
        await device.close();
      }
    } finally {
      lock.release();
    }
  });
}

async function openStored(
  record: MachineRecord,
  { flatten = false, signal = new AbortController().signal }: ExportOptions,
): Promise<Pick<MachineDisk, "device" | "overlay">> {
  // Read again under the lock: another tab may have reset it until now.
  const current = await recordOf(record.id);
  if (flatten) return openMachineDisk(current, { progress: createProgress(), signal });
  const overlay = await openIndexedDbFile({
    database: await blockStore(),
    fileId: current.overlayFileId,
    name: overlayName(current.name),
    writable: false,
  });
  try {
    return { device: await openQcow2(overlay, { writable: false, backing: "none" }), overlay };
  } catch (error) {
    await overlay.close();
    throw error;
  }
}

/** Makes a Blob of what is written, by pieces: a browser keeps a large Blob on disk, not in memory. */
export async function asBlob(write: (target: ExportTarget) => Promise<void>): Promise<Blob> {
  const pieces: Blob[] = [];
  await write(new WritableStream({ write: (piece) => void pieces.push(new Blob([piece])) }));
  return new Blob(pieces, { type: "application/octet-stream" });
}

/** Nothing is changed meanwhile: the caller sees to that. */
async function writeDisk(
  device: Qcow2Device,
  overlay: BlockFile,
  target: ExportTarget,
  { flatten = false, compress, snapshots = true, onProgress, signal }: ExportOptions,
): Promise<void> {
  if (!flatten && compress !== undefined) {
    throw new ByreError(
      "INVALID_ARGUMENT",
      "An overlay alone is exported as it is stored: compress is for the whole disk, with flatten.",
    );
  }
  const hooks = { ...(onProgress && { onProgress }), ...(signal && { signal }) };
  if (!flatten) return snapshots ? writeWhole(overlay, target, hooks) : writeActive(device, target, hooks);
  const packer = statePacker();
  await exportImage(device, target, {
    ...(snapshots && { snapshots: "all" }),
    ...(compress !== undefined && { compress }),
    // A copy goes to the worker, which takes over what it is given.
    pack: async (cluster, type) => (await packer.pack([{ bytes: cluster.slice() }], type))[0]?.packed,
    ...hooks,
  });
}

/** A file as it is now, with what is not yet committed. */
async function writeWhole(file: BlockFile, target: ExportTarget, options: WorkOptions): Promise<void> {
  const { onProgress, signal } = options;
  const writer = target.getWriter();
  try {
    for (let offsetBytes = 0; offsetBytes < file.sizeBytes; offsetBytes += PIECE_BYTES) {
      if (signal?.aborted) throw new ByreError("CANCELLED", "The export was called off.");
      const piece = new Uint8Array(Math.min(PIECE_BYTES, file.sizeBytes - offsetBytes));
      await file.read(offsetBytes, piece);
      await writer.write(piece);
      onProgress?.((offsetBytes + piece.length) / file.sizeBytes);
    }
    await writer.close();
  } finally {
    writer.releaseLock();
  }
}

/** Tells the target of a failure, if whoever writes into it has not done so. */
export async function orAbort(target: ExportTarget, write: () => Promise<void>): Promise<void> {
  try {
    await write();
  } catch (error) {
    if (!target.locked) await target.abort(error).catch(() => {});
    throw error;
  }
}

/** An overlay with its disk as it is now and nothing else, over the same base. */
async function writeActive(from: Qcow2Device, target: ExportTarget, hooks: WorkOptions): Promise<void> {
  const fileId = newId();
  await whileMakingFiles(async () => {
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
      await copyDisk(from, to, hooks);
      await to.flush();
      await writeWhole(copy, target, hooks.signal ? { signal: hooks.signal } : {});
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
