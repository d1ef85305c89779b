import { ByreError } from "../errors.ts";
import { encodeActiveFields, runBulkChange, type TableTree } from "./bulk-change.ts";
import type { Qcow2Core } from "./core.ts";
import { ENTRY_BYTES, MAX_L1_BYTES, MAX_SNAPSHOTS } from "./format.ts";
import type { Qcow2Image } from "./image.ts";
import { clearCopied } from "./l2-entry.ts";
import { truncateFile } from "./resize.ts";
import {
  activeTree,
  checkName,
  NO_TREE,
  placeTables,
  replaceSnapshots,
  snapshotTree,
  tableChange,
} from "./snapshot-change.ts";
import { encodeSnapshotTable, type Qcow2Snapshot } from "./snapshot-table.ts";
import { bytesOf, viewOf } from "./u64.ts";

/** What a new snapshot is to be called, and when it was. */
export interface CreateSnapshotOptions {
  /** At most 255 bytes of UTF-8. */
  name: string;
  /** Since 1970. Default: now. */
  dateSeconds?: number;
  dateNanoseconds?: number;
  /** How long the guest has run. Default 0. */
  vmClockNanoseconds?: bigint;
  /** Bytes of VM state, already written past the disk's end. Default 0. */
  vmStateBytes?: number;
  /** Instructions the guest has run. Default: not counted. */
  icount?: bigint;
  /** Room for so much VM state, which is empty at first. Default: the snapshot has what the disk has of it. */
  stateRoomBytes?: number;
  /** Keeps the disk as this snapshot has it, and its VM state. Default: the disk as it is now. */
  of?: Qcow2Snapshot;
  /**
   * Leaves it to the next flush to make the snapshot durable, where the file has transactions: for a machine that
   * stands still meanwhile. Default: false.
   */
  deferFlush?: boolean;
}

/** The snapshot with an id, or else with a name. */
export function findSnapshot(image: Qcow2Image, idOrName: string): Qcow2Snapshot {
  const found =
    image.snapshots.find((snapshot) => snapshot.id === idOrName) ??
    image.snapshots.find((snapshot) => snapshot.name === idOrName);
  if (found) return found;
  throw new ByreError("SNAPSHOT_NOT_FOUND", `${image.file.name} has no snapshot "${idOrName}".`, {
    file: image.file.name,
    snapshot: idOrName,
  });
}

/** @throws ByreError UNSUPPORTED_FEATURE for an image whose clusters cannot be shared with snapshots. */
export function checkCanHaveSnapshots(image: Qcow2Image): void {
  if (image.refcountOrder > 0) return;
  throw new ByreError(
    "UNSUPPORTED_FEATURE",
    `${image.file.name} has refcounts of 1 bit, which cannot be shared: it can have no snapshots. Amend it to ` +
      "wider refcounts first.",
    { file: image.file.name, refcountBits: 1 },
  );
}

/** Keeps the disk as it is now under a name. */
export async function createSnapshot(
  core: Qcow2Core,
  options: CreateSnapshotOptions,
): Promise<Qcow2Snapshot> {
  const { image } = core;
  checkName(image, options.name);
  checkCanHaveSnapshots(image);
  if (image.snapshots.length >= MAX_SNAPSHOTS)
    throw new ByreError(
      "TOO_LARGE",
      `${image.file.name} has ${MAX_SNAPSHOTS} snapshots, which is the most.`,
      {
        file: image.file.name,
      },
    );
  const now = Date.now();
  const plan = async () => {
    const active = activeTree(image);
    const of = options.of ? await snapshotTree(image, options.of) : active;
    const kept = options.stateRoomBytes === undefined ? of : withStateRoom(image, of, options.stateRoomBytes);
    const l1 = bytesOf(kept.l1).slice();
    const snapshot: Omit<Qcow2Snapshot, "l1OffsetBytes"> = {
      id: String(
        image.snapshots.reduce((most, { id }) => Math.max(most, Number.parseInt(id, 10) || 0), 0) + 1,
      ),
      name: options.name,
      dateSeconds: options.dateSeconds ?? Math.floor(now / 1000),
      dateNanoseconds: options.dateNanoseconds ?? (now % 1000) * 1_000_000,
      vmClockNanoseconds: options.vmClockNanoseconds ?? 0n,
      vmStateBytes: options.vmStateBytes ?? 0,
      diskBytes: options.of?.diskBytes ?? image.header.sizeBytes,
      icount: options.icount,
      l1Entries: l1.length / ENTRY_BYTES,
      extraData: new Uint8Array(0),
    };
    clearCopied(l1, ENTRY_BYTES);
    const place = await placeTables(core, [
      l1,
      encodeSnapshotTable([...image.snapshots, { ...snapshot, l1OffsetBytes: 0 }]),
    ]);
    const l1OffsetBytes = (place[0] ?? 0) * image.clusterSizeBytes;
    const created: Qcow2Snapshot = { ...snapshot, l1OffsetBytes: l1.length === 0 ? 0 : l1OffsetBytes };
    const snapshots = [...image.snapshots, created];
    const table = tableChange(image, snapshots, place[1] ?? 0);
    return {
      change: {
        added: [kept],
        removed: [],
        // What another snapshot has is counted already: the active tree's flags do not change with it.
        active: options.of ? NO_TREE : active,
        tables: [{ bytes: l1, clusterIndex: place[0] ?? 0 }, ...table.tables],
        releasedTables: table.releasedTables,
        header: table.header,
        applied: table.applied,
      },
      result: created,
    };
  };
  return runBulkChange(core, plan, options);
}

/** A tree of the disk's tables alone, with empty entries for VM state after them. */
function withStateRoom(image: Qcow2Image, { l1, l1OffsetBytes }: TableTree, roomBytes: number): TableTree {
  const diskBytes = Math.ceil(image.header.sizeBytes / image.l2ReachBytes) * ENTRY_BYTES;
  const bytes = new Uint8Array(diskBytes + Math.ceil(roomBytes / image.l2ReachBytes) * ENTRY_BYTES);
  bytes.set(bytesOf(l1).subarray(0, diskBytes));
  return { l1: viewOf(bytes), l1OffsetBytes };
}

/** What of a snapshot's entry may change. */
export interface SnapshotChange {
  name?: string;
  vmStateBytes?: number;
  vmClockNanoseconds?: bigint;
  dateSeconds?: number;
  dateNanoseconds?: number;
}

/**
 * Gives a snapshot another name or date, or the length of a VM state that its tables have by now.
 *
 * @param replaces ids of snapshots that go in the same change; one that is gone already is no error.
 */
export async function changeSnapshot(
  core: Qcow2Core,
  idOrName: string,
  change: SnapshotChange,
  replaces: readonly string[] = [],
): Promise<Qcow2Snapshot> {
  const { image } = core;
  return replaceSnapshots(core, (now) => {
    const before = findSnapshot(image, idOrName);
    const after: Qcow2Snapshot = { ...before, ...change };
    checkName(image, after.name);
    const dropped = now.filter((snapshot) => snapshot !== before && replaces.includes(snapshot.id));
    const snapshots = now
      .filter((snapshot) => !dropped.includes(snapshot))
      .map((snapshot) => (snapshot === before ? after : snapshot));
    return { snapshots, dropped, result: after };
  });
}

/** Drops snapshots in one change; what only they referred to is free then. */
export async function deleteSnapshots(core: Qcow2Core, idsOrNames: readonly string[]): Promise<void> {
  await replaceSnapshots(core, (now) => {
    const dropped = [...new Set(idsOrNames.map((idOrName) => findSnapshot(core.image, idOrName)))];
    return {
      snapshots: now.filter((snapshot) => !dropped.includes(snapshot)),
      dropped,
      result: undefined,
    };
  });
  // Room at the end goes back to a browser's storage; a file on a disk keeps its length, as QEMU leaves it.
  if (core.image.file.transactional) await truncateFile(core);
}

export interface ApplySnapshotOptions {
  /** Leaves the VM state to the snapshot, for who reads it there. Default: the disk gets it too, as in QEMU. */
  withoutState?: boolean;
  /** Leaves it to the next flush of anybody's to make the change durable, on a file with transactions. */
  deferFlush?: boolean;
}

/** Puts the disk back to what it was; its virtual size too. What it is now is gone. */
export async function applySnapshot(
  core: Qcow2Core,
  idOrName: string,
  options: ApplySnapshotOptions = {},
): Promise<void> {
  const { image } = core;
  const snapshot = findSnapshot(image, idOrName);
  if (snapshot.diskBytes !== image.header.sizeBytes && image.header.version < 3)
    throw new ByreError(
      "UNSUPPORTED_FEATURE",
      `${image.file.name}: the snapshot "${snapshot.name}" has a disk of ${snapshot.diskBytes} bytes, the image one ` +
        `of ${image.header.sizeBytes}. A version 2 image with snapshots keeps its size; amend it to version 3 first.`,
      { file: image.file.name, snapshot: snapshot.name },
    );
  // The table may say a disk that its own L1 table does not reach; the rest of it is empty.
  const neededBytes = Math.ceil(snapshot.diskBytes / image.l2ReachBytes) * ENTRY_BYTES;
  if (neededBytes > MAX_L1_BYTES)
    throw new ByreError(
      "TOO_LARGE",
      `${image.file.name}: the snapshot "${snapshot.name}" has a disk of ${snapshot.diskBytes} bytes, too large for ` +
        `clusters of ${image.clusterSizeBytes} bytes.`,
      { file: image.file.name, snapshot: snapshot.name, sizeBytes: snapshot.diskBytes },
    );
  await runBulkChange(
    core,
    async () => {
      const tree = await snapshotTree(image, snapshot);
      // Never shorter than it was: QEMU keeps the room too.
      const l1 = new Uint8Array(Math.max(tree.l1.byteLength, image.l1.byteLength, neededBytes));
      l1.set(options.withoutState ? bytesOf(tree.l1).subarray(0, neededBytes) : bytesOf(tree.l1));
      return replaceActive(core, l1, snapshot.diskBytes, tree);
    },
    { deferFlush: options.deferFlush === true },
  );
}

/** Drops every cluster of the active image: it reads as what is behind it, or as zeros. */
export async function makeEmpty(core: Qcow2Core): Promise<void> {
  const { image } = core;
  // Twice: only when the clusters are free can the new table move to the front of the file.
  for (let round = 0; round < 2; round++)
    await runBulkChange(core, () =>
      replaceActive(core, new Uint8Array(image.l1.byteLength), image.header.sizeBytes, undefined),
    );
}

/** Gives the active image another L1 table, in clusters of its own. */
async function replaceActive(
  core: Qcow2Core,
  l1: Uint8Array<ArrayBuffer>,
  sizeBytes: number,
  added: TableTree | undefined,
) {
  const { image } = core;
  clearCopied(l1, ENTRY_BYTES);
  const [clusterIndex = 0] = await placeTables(core, [l1]);
  const l1OffsetBytes = clusterIndex * image.clusterSizeBytes;
  const l1Entries = l1.length / ENTRY_BYTES;
  const old = activeTree(image);
  return {
    change: {
      added: added ? [{ l1: viewOf(l1), l1OffsetBytes: added.l1OffsetBytes }] : [],
      removed: [old],
      active: { l1: viewOf(l1), l1OffsetBytes },
      tables: [{ bytes: l1, clusterIndex }],
      releasedTables: [{ offsetBytes: old.l1OffsetBytes, lengthBytes: old.l1.byteLength }],
      header: [encodeActiveFields(image, { sizeBytes, l1Entries, l1OffsetBytes })],
      applied: () => image.setActive(l1, l1OffsetBytes, sizeBytes),
    },
    result: undefined,
  };
}
