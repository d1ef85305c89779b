import { ByreError } from "../errors.ts";
import { type BulkChange, type NewTable, runBulkChange, type TableTree } from "./bulk-change.ts";
import type { Qcow2Core } from "./core.ts";
import { ENTRY_BYTES, HeaderField, MAX_L1_BYTES, MAX_SNAPSHOT_TABLE_BYTES } from "./format.ts";
import type { Qcow2Image } from "./image.ts";
import { untilReady } from "./needs.ts";
import { encodeSnapshotTable, MAX_SNAPSHOT_NAME_BYTES, type Qcow2Snapshot } from "./snapshot-table.ts";
import { bytesOf, viewOf } from "./u64.ts";

/** What the snapshot table is to be, and whose tables are let go with it. */
export interface NextSnapshots<Result> {
  readonly snapshots: readonly Qcow2Snapshot[];
  /** Of the present ones. */
  readonly dropped: readonly Qcow2Snapshot[];
  readonly result: Result;
}

/** Puts another snapshot table in the place of the present one, and lets go of what is dropped, in one change. */
export async function replaceSnapshots<Result>(
  core: Qcow2Core,
  plan: (now: readonly Qcow2Snapshot[]) => NextSnapshots<Result>,
): Promise<Result> {
  const { image } = core;
  return runBulkChange(core, async () => {
    const { snapshots, dropped, result } = plan(image.snapshots);
    const [place = 0] = await placeTables(core, [encodeSnapshotTable(snapshots)]);
    const removed: TableTree[] = [];
    for (const snapshot of dropped) removed.push(await snapshotTree(image, snapshot));
    const { releasedTables, ...table } = tableChange(image, snapshots, place);
    const change: BulkChange = {
      ...table,
      added: [],
      removed,
      active: dropped.length > 0 ? activeTree(image) : NO_TREE,
      releasedTables: [
        ...releasedTables,
        ...dropped.map(({ l1OffsetBytes, l1Entries }) => ({
          offsetBytes: l1OffsetBytes,
          lengthBytes: l1Entries * ENTRY_BYTES,
        })),
      ],
    };
    return { change, result };
  });
}

/** For changes that leave the active tree's flags as they are. */
export const NO_TREE: TableTree = { l1: new DataView(new ArrayBuffer(0)), l1OffsetBytes: 0 };

/** A snapshot table in the place of the present one. */
export function tableChange(image: Qcow2Image, snapshots: readonly Qcow2Snapshot[], clusterIndex: number) {
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
    header: [{ fieldBytes: HeaderField.SNAPSHOT_COUNT, bytes: fields }],
    applied: () => image.setSnapshots(snapshots, offsetBytes, bytes.length),
  };
}

export function checkName({ file }: Qcow2Image, name: string): void {
  const nameBytes = new TextEncoder().encode(name).length;
  if (nameBytes <= MAX_SNAPSHOT_NAME_BYTES && !name.includes("\0")) return;
  throw new ByreError(
    "INVALID_ARGUMENT",
    `${file.name}: a snapshot's name has at most ${MAX_SNAPSHOT_NAME_BYTES} bytes and no NUL; this one has ${nameBytes} bytes.`,
    { file: file.name, lengthBytes: nameBytes },
  );
}

/** Finds free clusters, one after the other, for each table; returns their first ones. */
export async function placeTables(core: Qcow2Core, tables: readonly Uint8Array[]): Promise<number[]> {
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

export function activeTree(image: Qcow2Image): TableTree {
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
