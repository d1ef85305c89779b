import { ByreError } from "../../disk/index.ts";
import type { MachineConfiguration } from "../../emulator/index.ts";
import { deleteFiles, whileMakingFiles } from "../library/block-store.ts";
import { library } from "../library/library.ts";
import { type MachineRecord, nameForMachine, newId } from "../library/machine-record.ts";
import { type BaseChain, pinnedChain, type RemoteOptions } from "./base-chain.ts";
import { recordOf } from "./change-machine.ts";
import { cancelled } from "./emulator-files.ts";
import { importFiles } from "./import-files.ts";
import { type MachineDisk, makeStoredDisk, openMachineDisk } from "./machine-disk.ts";
import { lockMachine, type MachineLock } from "./machine-lock.ts";

/** A disk that a machine can be started on. */
export interface OpenedDisk {
  readonly disk: MachineDisk;
  /** Undefined, as is `lock`, for a machine that is thrown away. */
  readonly record: MachineRecord | undefined;
  readonly name: string;
  readonly lock: MachineLock | undefined;
  readonly configuration: Partial<MachineConfiguration>;
}

/**
 * Opens a machine that this browser keeps.
 *
 * @throws ByreError IN_USE, FILE_CHANGED, what the files and the driver throw.
 */
export async function openKept(record: MachineRecord, options: RemoteOptions): Promise<OpenedDisk> {
  const lock = await lockMachine(record.id, record.name);
  try {
    // Read again under the lock: another tab may have reset it until now.
    const current = await recordOf(record.id);
    const disk = await openMachineDisk(current, options);
    await library.update(record.id, { lastUsedAt: Date.now() });
    return { disk, record: current, name: current.name, lock, configuration: current.configuration };
  } catch (error) {
    lock.release();
    throw error;
  }
}

/** Imports what a person dropped and makes a machine on it. */
export async function makeFromFiles(
  files: readonly File[],
  options: RemoteOptions,
  ready: Promise<unknown>,
): Promise<OpenedDisk> {
  return whileMakingFiles(async () => {
    const pins = await importFiles(files, options.progress, options.signal);
    try {
      return await makeKept(pinnedChain(pins, options), {
        baseName: pins[0]?.name ?? "Machine",
        ready,
        signal: options.signal,
      });
    } catch (error) {
      await deleteFiles(pins.flatMap(({ source }) => (source.kind === "import" ? [source.fileId] : [])));
      throw error;
    }
  });
}

export interface NewMachine {
  /** The machine is called this, or this and a number. */
  readonly baseName: string;
  readonly memoryMiB?: number | undefined;
  /** What else must be there before it is worth keeping the machine. */
  readonly ready: Promise<unknown>;
  readonly signal: AbortSignal;
}

/**
 * Makes a machine: an overlay over a base, and its record. The record comes last, when base and overlay were
 * opened and understood, so that a bad image leaves nothing behind.
 *
 * @throws ByreError what is wrong with the base; CANCELLED. Call it inside `whileMakingFiles`.
 */
export async function makeKept(chain: BaseChain, machine: NewMachine): Promise<OpenedDisk> {
  const id = newId();
  const name = nameForMachine(
    machine.baseName,
    (await library.list()).map((record) => record.name),
  );
  const lock = await lockMachine(id, name);
  try {
    const disk = await makeStoredDisk(chain, name);
    try {
      await machine.ready;
      if (machine.signal.aborted) throw cancelled();
      const [base, ...behindBase] = chain.pinned();
      if (!base) throw new ByreError("INTERNAL", `The base of ${name} was opened without being pinned.`);
      const now = Date.now();
      const record: MachineRecord = {
        id,
        name,
        createdAt: now,
        lastUsedAt: now,
        base,
        behindBase,
        overlayFileId: disk.overlay.fileId,
        configuration: machine.memoryMiB === undefined ? {} : { memoryMiB: machine.memoryMiB },
      };
      await library.put(record);
      return { disk, record, name, lock, configuration: record.configuration };
    } catch (error) {
      await disk.device.close();
      await deleteFiles([disk.overlay.fileId]);
      throw error;
    }
  } catch (error) {
    lock.release();
    throw error;
  }
}
