import { ByreError, copySnapshot, createQcow2, openIndexedDbFile, openQcow2 } from "../../disk/index.ts";
import { blockStore, deleteFiles, whileMakingFiles } from "../library/block-store.ts";
import { library } from "../library/library.ts";
import { type MachineRecord, nameForMachine, newId } from "../library/machine-record.ts";
import type { SessionParts } from "./create-session.ts";
import { overlayLike } from "./export-disk.ts";
import { overlayName } from "./machine-disk.ts";
import { type CopiedDrives, copyDrives } from "./record-drives.ts";
import { savedAtMs } from "./start-plan.ts";
import type { WorkHooks } from "./state-work.ts";

/**
 * Makes a machine of a saved state of an open one: an overlay of its own over the same base, which goes on from
 * the state when it is first opened. The open machine runs on meanwhile.
 *
 * @returns the new machine's id.
 * @throws ByreError SNAPSHOT_NOT_FOUND, CANCELLED, QUOTA_EXCEEDED, what copying meets. Nothing is kept then.
 */
export async function machineFromSnapshot(
  parts: Pick<
    SessionParts,
    "record" | "name" | "machine" | "disk" | "drives" | "pins" | "baseSnapshot" | "wishes"
  >,
  snapshotId: string,
  hooks: WorkHooks,
): Promise<string> {
  const { record, disk, pins, baseSnapshot, wishes } = parts;
  const from = disk.device;
  const snapshot = from.snapshots.find(({ id }) => id === snapshotId);
  const [base, ...behindBase] = pins;
  if (!snapshot || !base)
    throw new ByreError("SNAPSHOT_NOT_FOUND", `${parts.name} has no saved state "${snapshotId}".`, {
      snapshot: snapshotId,
    });
  return whileMakingFiles(async () => {
    const taken = (await library.list()).map(({ name }) => name);
    const name = nameForMachine(`${parts.name} ${snapshot.name}`, taken);
    const fileId = newId();
    const overlay = await openIndexedDbFile({
      database: await blockStore(),
      fileId,
      name: overlayName(name),
      create: true,
    });
    let copiedDrives: CopiedDrives | undefined;
    try {
      await createQcow2(overlay, overlayLike(from, snapshot.diskBytes));
      // Only what the overlay itself stores is copied; what is behind it is not needed for that.
      const to = await openQcow2(overlay, { writable: true, backing: "none" });
      let copied: Awaited<ReturnType<typeof copySnapshot>>;
      try {
        copied = await copySnapshot(from, snapshotId, to, hooks);
      } finally {
        await to.close();
      }
      // The floppy is copied from its file.
      await parts.machine.flush();
      copiedDrives = await copyDrives(parts.drives, snapshot, { signal: hooks.signal });
      const drives = copiedDrives.record;
      // As they are by now: they change while the machine is on.
      const latest = record && (await library.get(record.id));
      const now = Date.now();
      const made: MachineRecord = {
        id: newId(),
        name,
        icon: latest?.icon,
        createdAt: now,
        lastUsedAt: now,
        // A floppy that it boots from is copied as it is now.
        base: (record?.bootsFrom && drives?.[record.bootsFrom]) ?? base,
        behindBase,
        overlayFileId: fileId,
        ...(record?.bootsFrom && { bootsFrom: record.bootsFrom }),
        importPaused: record?.importPaused,
        ...wishes,
        settings: latest?.settings,
        autosaveMinutes: record?.autosaveMinutes,
        baseSnapshot,
        drives,
        greeted: true,
        ...(copied.vmStateBytes > 0 && { suspended: { id: copied.id, atMs: savedAtMs(copied) } }),
      };
      await library.put(made);
      return made.id;
    } catch (error) {
      await overlay.close();
      await deleteFiles([fileId, ...(copiedDrives?.fileIds ?? [])]);
      throw error;
    }
  });
}
