import {
  ByreError,
  copySnapshot,
  createQcow2,
  type IndexedDbFile,
  openIndexedDbFile,
  openQcow2,
  type Qcow2Device,
  type Qcow2Snapshot,
} from "../../disk/index.ts";
import { iconIn } from "../appliance/icon-data.ts";
import { blockStore, deleteFiles, whileMakingFiles } from "../library/block-store.ts";
import { library } from "../library/library.ts";
import { type MachineRecord, nameForMachine, newId } from "../library/machine-record.ts";
import { startOn } from "./base-start.ts";
import type { SessionParts } from "./create-session.ts";
import { overlayLike } from "./export-disk.ts";
import { createOverlay, overlayName } from "./machine-disk.ts";
import { type CopiedDrives, copyDrives } from "./record-drives.ts";
import { savedAtMs } from "./start-plan.ts";
import type { WorkHooks } from "./state-work.ts";

/** What is used of the open machine. */
type OpenParts = Pick<
  SessionParts,
  "record" | "name" | "machine" | "disk" | "drives" | "pins" | "baseSnapshot" | "wishes"
>;

/**
 * Makes a machine of a saved state of an open one: an overlay of its own over the same base, which goes on from
 * the state when it is first opened. The open machine runs on meanwhile.
 *
 * @returns the new machine's id.
 * @throws ByreError SNAPSHOT_NOT_FOUND, CANCELLED, QUOTA_EXCEEDED, what copying meets. Nothing is kept then.
 */
export async function machineFromSnapshot(
  parts: OpenParts,
  snapshotId: string,
  hooks: WorkHooks,
): Promise<string> {
  const { disk, baseSnapshot, wishes } = parts;
  const from = disk.device;
  const snapshot = from.snapshots.find(({ id }) => id === snapshotId);
  if (!snapshot) throw noSuch(parts.name, snapshotId);
  return makeBeside(parts, snapshot.name, hooks, async (overlay) => {
    await createQcow2(overlay, overlayLike(from, snapshot.diskBytes));
    // Only what the overlay itself stores is copied; what is behind it is not needed for that.
    const to = await openQcow2(overlay, { writable: true, backing: "none" });
    let copied: Qcow2Snapshot;
    try {
      copied = await copySnapshot(from, snapshotId, to, hooks);
    } finally {
      await to.close();
    }
    return {
      drivesOf: snapshot,
      recordOver: (latest) => ({
        icon: latest?.icon,
        ...wishes,
        settings: latest?.settings,
        autosaveMinutes: latest?.autosaveMinutes,
        baseSnapshot,
        ...(copied.vmStateBytes > 0 && { suspended: { id: copied.id, atMs: savedAtMs(copied) } }),
      }),
    };
  });
}

/**
 * Makes a machine of a snapshot of the base of an open one: an empty overlay over the base at that snapshot, as a link to
 * it would. The open machine runs on meanwhile.
 *
 * @param base of that machine, as it is open.
 * @param diskOnly its state is left alone, and its disk booted.
 * @returns the new machine's id.
 * @throws ByreError SNAPSHOT_NOT_FOUND, STATE_INVALID, UNSUPPORTED_VERSION; what reading the base meets, and
 *   QUOTA_EXCEEDED. Nothing is kept then.
 */
export async function machineFromBase(
  parts: OpenParts,
  base: Qcow2Device,
  snapshotId: string,
  hooks: WorkHooks & { readonly diskOnly?: boolean | undefined },
): Promise<string> {
  const { disk, drives } = parts;
  // The base is open as the machine has it, perhaps at a snapshot, and the machine's overlay has a name for it so.
  const { backingName = base.name } = disk.device.header;
  const { diskOnly } = hooks;
  const secondDisk = drives.disks.hdb !== undefined;
  const start = await startOn(base, backingName, { snapshot: snapshotId, diskOnly, secondDisk });
  const { snapshot, configuration, display, network: offeredNetwork } = start;
  if (!snapshot) throw noSuch(base.name, snapshotId);
  return makeBeside(parts, snapshot.name, hooks, async (overlay, name) => {
    await createOverlay(overlay, start, name);
    await overlay.flush();
    await overlay.close();
    const record = { icon: iconIn(start.metadata), configuration, display, offeredNetwork };
    return { drivesOf: undefined, recordOver: () => ({ ...record, baseSnapshot: snapshot }) };
  });
}

/** What becomes of the file of a new machine's overlay. */
interface MadeOverlay {
  /** The snapshot of the open machine's disk that its other disks are copied of; undefined: of none. */
  readonly drivesOf: Qcow2Snapshot | undefined;
  /** What the new machine's record says beside what both machines are over. */
  readonly recordOver: (
    latest: MachineRecord | undefined,
  ) => Pick<MachineRecord, "configuration"> & Partial<MachineRecord>;
}

/**
 * Makes a machine over the same base as an open one.
 *
 * @param makeOverlay makes the overlay in an empty file and closes that, unless it throws.
 */
async function makeBeside(
  parts: OpenParts,
  snapshotName: string,
  { signal }: WorkHooks,
  makeOverlay: (file: IndexedDbFile, machineName: string) => Promise<MadeOverlay>,
): Promise<string> {
  const { record, machine, drives, pins } = parts;
  const [base, ...behindBase] = pins;
  if (!base) throw new ByreError("INTERNAL", `The base of ${parts.name} was opened without being pinned.`);
  return whileMakingFiles(async () => {
    const taken = (await library.list()).map(({ name }) => name);
    const name = nameForMachine(`${parts.name} ${snapshotName}`, taken);
    const fileId = newId();
    const overlay = await openIndexedDbFile({
      database: await blockStore(),
      fileId,
      name: overlayName(name),
      create: true,
    });
    let copied: CopiedDrives | undefined;
    try {
      const made = await makeOverlay(overlay, name);
      // The floppy is copied from its file.
      await machine.flush();
      copied = await copyDrives(drives, made.drivesOf, { signal });
      if (signal.aborted) throw new ByreError("CANCELLED", `${name} was not made.`);
      // As it is by now: it changes while the machine is on.
      const latest = record && (await library.get(record.id));
      const { bootsFrom, importPaused } = latest ?? {};
      const now = Date.now();
      const next: MachineRecord = {
        id: newId(),
        name,
        createdAt: now,
        lastUsedAt: now,
        // A floppy that it boots from is copied as it is now.
        base: (bootsFrom && copied.record?.[bootsFrom]) ?? base,
        behindBase,
        overlayFileId: fileId,
        ...(bootsFrom && { bootsFrom }),
        importPaused,
        drives: copied.record,
        greeted: true,
        ...made.recordOver(latest),
      };
      await library.put(next);
      return next.id;
    } catch (error) {
      await overlay.close();
      await deleteFiles([fileId, ...(copied?.fileIds ?? [])]);
      throw error;
    }
  });
}

function noSuch(machineOrImage: string, snapshot: string): ByreError {
  return new ByreError("SNAPSHOT_NOT_FOUND", `${machineOrImage} has no saved state "${snapshot}".`, {
    snapshot,
  });
}
