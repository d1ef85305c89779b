import { ByreError, deleteUnfinishedImport } from "../../disk/index.ts";
import { iconIn } from "../appliance/icon-data.ts";
import { blockStore, deleteFiles, whileMakingFiles } from "../library/block-store.ts";
import { library } from "../library/library.ts";
import { type MachineRecord, ownFileIds } from "../library/machine-record.ts";
import { linkedChain, pinnedChain, type RemoteOptions } from "./base-chain.ts";
import { makeEmptyDisk, makeStoredDisk, pinsOf } from "./machine-disk.ts";
import { lockMachine, type MachineLock } from "./machine-lock.ts";
import { remakeDrives } from "./record-drives.ts";

/**
 * The record of a machine.
 *
 * @throws ByreError NOT_FOUND.
 */
export async function recordOf(id: string): Promise<MachineRecord> {
  const record = await library.get(id);
  if (record) return record;
  throw new ByreError("NOT_FOUND", "This browser has no such machine. It may have been deleted.", {
    machine: id,
  });
}

/**
 * Puts a new, empty overlay in the place of a machine's, over its base as that is now; a machine made on a snapshot
 * of the base is made on the same again, or on the newest of its name where the base has another by now.
 *
 * @throws ByreError IN_USE; what opening the base meets. The machine is as it was then.
 */
export async function resetMachine(id: string, options: RemoteOptions): Promise<void> {
  const { name } = await recordOf(id);
  const lock = await lockMachine(id, name);
  try {
    // Read again under the lock: another tab may have reset it until now.
    const record = await recordOf(id);
    await whileMakingFiles(async () => {
      const { base: pin, bootsFrom, baseSnapshot: snapshot } = record;
      const chain =
        pin.source.kind === "url"
          ? linkedChain(pin.source.url, options)
          : pinnedChain(pinsOf(record), options);
      const disk = bootsFrom
        ? await makeEmptyDisk(bootsFrom, record.name)
        : await makeStoredDisk(chain, () => record.name, { snapshot, diskOnly: snapshot?.diskOnly });
      await disk.device.close();
      const drives = record.drives && (await remakeDrives(record.drives, options));
      await drives?.made.close();
      const [base = pin, ...behindBase] = chain.pinned();
      await library.update(id, {
        overlayFileId: disk.overlay.fileId,
        icon: iconIn(disk.start.metadata),
        base,
        behindBase,
        baseSnapshot: disk.start.snapshot,
        drives: drives?.record,
        suspended: undefined,
        openedAt: undefined,
        startedFrom: undefined,
      });
      const replaced = drives?.made.record?.hdb && record.drives?.hdb;
      await deleteFiles([record.overlayFileId, ...(replaced ? [replaced.overlayFileId] : [])]);
    });
  } finally {
    lock.release();
  }
}

/**
 * Deletes a machine with everything written on it.
 *
 * @throws ByreError IN_USE; STORAGE.
 */
export async function deleteMachine(id: string): Promise<void> {
  const found = await library.get(id);
  if (!found) return;
  const lock = await lockMachine(id, found.name);
  try {
    // Read again under the lock: another tab may have reset or deleted it until now.
    const record = await library.get(id);
    if (!record) return;
    // The record first: files without one are swept away later, a record without files is a broken machine.
    await library.remove(id);
    // A machine that was made from a saved state of this one goes on using the imported base.
    const used = new Set((await library.list()).flatMap(ownFileIds));
    await deleteFiles(ownFileIds(record).filter((fileId) => !used.has(fileId)));
  } finally {
    lock.release();
  }
}

/**
 * Deletes what was copied so far of a file that a machine needs. The machine asks for the file when it is opened, and
 * does not copy it by itself any more.
 *
 * @throws ByreError IN_USE; INVALID_ARGUMENT for a copy that is whole: without it the machine would be gone; STORAGE.
 */
export async function deleteUnfinishedCopy(id: string, fileId: string): Promise<void> {
  const { name } = await recordOf(id);
  const users = (await library.list()).filter((record) => ownFileIds(record).includes(fileId));
  const locks: MachineLock[] = [];
  try {
    // A machine that was made from a saved state of this one may be on, and copy the file too.
    for (const user of users) locks.push(await lockMachine(user.id, user.name));
    for (const user of users) await library.update(user.id, { importPaused: true });
    const database = await blockStore();
    // Where the file is stays known: the machine will ask for it.
    if (!(await deleteUnfinishedImport({ database, fileId })))
      throw new ByreError(
        "INVALID_ARGUMENT",
        `It is copied wholly by now, and ${name} needs it. Delete the machine to be rid of it.`,
        { machine: id, fileId },
      );
  } finally {
    for (const lock of locks) lock.release();
  }
}
