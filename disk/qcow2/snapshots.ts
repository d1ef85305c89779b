import { ByreError } from "../errors.ts";
import { encodeActiveFields, type NewTable, runBulkChange, type TableTree } from "./bulk-change.ts";
import type { Qcow2Core } from "./core.ts";
import { ENTRY_BYTES, HeaderField, MAX_L1_BYTES, MAX_SNAPSHOT_TABLE_BYTES, MAX_SNAPSHOTS } from "./format.ts";
import type { Qcow2Image } from "./image.ts";
import { untilReady } from "./needs.ts";
import { encodeSnapshotTable, MAX_SNAPSHOT_NAME_BYTES, type Qcow2Snapshot } from "./snapshot-table.ts";
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
  /** Entries of the snapshot's L1 table, when it is to have room for more than the active one has. */
  l1Entries?: number;
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

/** Keeps the disk as it is now under a name. */
export async function createSnapshot(
  core: Qcow2Core,
  options: CreateSnapshotOptions,
): Promise<Qcow2Snapshot> {
  const { image } = core;
  checkName(image, options.name);
  if (image.refcountOrder === 0)
    throw new ByreError(
      "UNSUPPORTED_FEATURE",
      `${image.file.name} has refcounts of 1 bit, which cannot be shared: it can have no snapshots. Amend it to ` +
        "wider refcounts first.",
      { file: image.file.name, refcountBits: 1 },
    );
  if (image.snapshots.length >= MAX_SNAPSHOTS)
    throw new ByreError(
      "TOO_LARGE",
      `${image.file.name} has ${MAX_SNAPSHOTS} snapshots, which is the most.`,
      {
        file: image.file.name,
      },
    );
  const now = Date.now();
  return runBulkChange(core, async () => {
    const l1 = new Uint8Array(Math.max(image.l1Entries, options.l1Entries ?? 0) * ENTRY_BYTES);
    l1.set(bytesOf(image.l1));
    const snapshot: Omit<Qcow2Snapshot, "l1OffsetBytes"> = {
      id: String(
        image.snapshots.reduce((most, { id }) => Math.max(most, Number.parseInt(id, 10) || 0), 0) + 1,
      ),
      name: options.name,
      dateSeconds: options.dateSeconds ?? Math.floor(now / 1000),
      dateNanoseconds: options.dateNanoseconds ?? (now % 1000) * 1_000_000,
      vmClockNanoseconds: options.vmClockNanoseconds ?? 0n,
      vmStateBytes: options.vmStateBytes ?? 0,
      diskBytes: image.header.sizeBytes,
      icount: options.icount,
      l1Entries: l1.length / ENTRY_BYTES,
      extraData: new Uint8Array(0),
    };
    clearCopied(l1);
    const place = await placeTables(core, [
      l1,
      encodeSnapshotTable([...image.snapshots, { ...snapshot, l1OffsetBytes: 0 }]),
    ]);
    const l1OffsetBytes = (place[0] ?? 0) * image.clusterSizeBytes;
    const created: Qcow2Snapshot = { ...snapshot, l1OffsetBytes: l1.length === 0 ? 0 : l1OffsetBytes };
    const snapshots = [...image.snapshots, created];
    const table = tableChange(image, snapshots, place[1] ?? 0);
    const active = activeTree(image);
    return {
      change: {
        added: [active],
        removed: [],
        active,
        tables: [{ bytes: l1, clusterIndex: place[0] ?? 0 }, ...table.tables],
        releasedTables: table.releasedTables,
        header: [table.header],
        applied: table.applied,
      },
      result: created,
    };
  });
}

/** Gives a snapshot another name, or the length of a VM state that its tables have by now. */
export async function changeSnapshot(
  core: Qcow2Core,
  idOrName: string,
  change: { name?: string; vmStateBytes?: number; vmClockNanoseconds?: bigint },
): Promise<Qcow2Snapshot> {
  const { image } = core;
  const before = findSnapshot(image, idOrName);
  const after: Qcow2Snapshot = { ...before, ...change };
  checkName(image, after.name);
  return runBulkChange(core, async () => {
    const snapshots = image.snapshots.map((snapshot) => (snapshot === before ? after : snapshot));
    const [place = 0] = await placeTables(core, [encodeSnapshotTable(snapshots)]);
    const table = tableChange(image, snapshots, place);
    return {
      change: {
        added: [],
        removed: [],
        active: NO_TREE,
        tables: table.tables,
        releasedTables: table.releasedTables,
        header: [table.header],
        applied: table.applied,
      },
      result: after,
    };
  });
}

/** For changes that leave the active tree's flags as they are. */
const NO_TREE: TableTree = { l1: new DataView(new ArrayBuffer(0)), l1OffsetBytes: 0 };

/** Drops a snapshot; what only it referred to is free then. */
export async function deleteSnapshot(core: Qcow2Core, idOrName: string): Promise<void> {
  const { image } = core;
  const doomed = findSnapshot(image, idOrName);
  await runBulkChange(core, async () => {
    const snapshots = image.snapshots.filter((snapshot) => snapshot !== doomed);
    const place = await placeTables(core, [encodeSnapshotTable(snapshots)]);
    const table = tableChange(image, snapshots, place[0] ?? 0);
    return {
      change: {
        added: [],
        removed: [await snapshotTree(image, doomed)],
        active: activeTree(image),
        tables: table.tables,
        releasedTables: [
          ...table.releasedTables,
          { offsetBytes: doomed.l1OffsetBytes, lengthBytes: doomed.l1Entries * ENTRY_BYTES },
        ],
        header: [table.header],
        applied: table.applied,
      },
      result: undefined,
    };
  });
}

/** Puts the disk back to what it was; its virtual size too. What it is now is gone. */
export async function applySnapshot(core: Qcow2Core, idOrName: string): Promise<void> {
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
  await runBulkChange(core, async () => {
    const tree = await snapshotTree(image, snapshot);
    // Never shorter than it was: QEMU keeps the room too.
    const l1 = new Uint8Array(Math.max(tree.l1.byteLength, image.l1.byteLength, neededBytes));
    l1.set(bytesOf(tree.l1));
    return replaceActive(core, l1, snapshot.diskBytes, tree);
  });
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
  clearCopied(l1);
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

/** A snapshot table in the place of the present one. */
function tableChange(image: Qcow2Image, snapshots: readonly Qcow2Snapshot[], clusterIndex: number) {
  const bytes = encodeSnapshotTable(snapshots);
  if (bytes.length > MAX_SNAPSHOT_TABLE_BYTES)
    throw new ByreError("TOO_LARGE", `${image.file.name}: its snapshot table would be larger than 64 MiB.`, {
      file: image.file.name,
    });
  const offsetBytes = bytes.length === 0 ? 0 : clusterIndex * image.clusterSizeBytes;
  const fields = new Uint8Array(12);
  viewOf(fields).setUint32(0, snapshots.length);
  viewOf(fields).setBigUint64(4, BigInt(offsetBytes));
  const { snapshotsOffsetBytes: oldOffset, snapshotCount } = image.header;
  const tables: NewTable[] = bytes.length === 0 ? [] : [{ bytes, clusterIndex }];
  return {
    tables,
    releasedTables:
      snapshotCount === 0 ? [] : [{ offsetBytes: oldOffset, lengthBytes: image.snapshotTableBytes }],
    header: { fieldBytes: HeaderField.SNAPSHOT_COUNT, bytes: fields },
    applied: () => image.setSnapshots(snapshots, offsetBytes, bytes.length),
  };
}

function checkName({ file }: Qcow2Image, name: string): void {
  const nameBytes = new TextEncoder().encode(name).length;
  if (nameBytes <= MAX_SNAPSHOT_NAME_BYTES && !name.includes("\0")) return;
  throw new ByreError(
    "INVALID_ARGUMENT",
    `${file.name}: a snapshot's name has at most ${MAX_SNAPSHOT_NAME_BYTES} bytes and no NUL; this one has ${nameBytes} bytes.`,
    { file: file.name, lengthBytes: nameBytes },
  );
}

/** Finds free clusters, one after the other, for each table; returns their first ones. */
async function placeTables(core: Qcow2Core, tables: readonly Uint8Array[]): Promise<number[]> {
  const { clusterSizeBytes } = core.image;
  const counts = tables.map((table) => Math.ceil(table.length / clusterSizeBytes));
  const total = counts.reduce((sum, count) => sum + count, 0);
  const free = await untilReady((needs) => core.allocator.findFree(total, needs, true));
  let taken = 0;
  return counts.map((count) => {
    const first = free[taken] ?? 0;
    taken += count;
    return first;
  });
}

function activeTree(image: Qcow2Image): TableTree {
  return { l1: viewOf(bytesOf(image.l1).slice()), l1OffsetBytes: image.l1OffsetBytes };
}

/** Reads a snapshot's L1 table. */
export async function snapshotTree(image: Qcow2Image, snapshot: Qcow2Snapshot): Promise<TableTree> {
  const { file } = image;
  const lengthBytes = snapshot.l1Entries * ENTRY_BYTES;
  const { l1OffsetBytes } = snapshot;
  if (l1OffsetBytes + lengthBytes > file.sizeBytes || lengthBytes > MAX_L1_BYTES)
    throw image.corrupt(
      `the L1 table of the snapshot "${snapshot.name}" needs ${lengthBytes} bytes, past the end of the file`,
      l1OffsetBytes,
    );
  const l1 = new Uint8Array(lengthBytes);
  if (lengthBytes > 0) await file.read(l1OffsetBytes, l1);
  return { l1: viewOf(l1), l1OffsetBytes };
}

/** Takes the COPIED flags from a table: what is shared has no refcount of 1. */
function clearCopied(l1: Uint8Array): void {
  for (let at = 0; at < l1.length; at += ENTRY_BYTES) l1[at] = (l1[at] ?? 0) & 0x7f;
}
