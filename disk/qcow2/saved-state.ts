import type { Qcow2Core } from "./core.ts";
import { checkName, replaceSnapshots, snapshotTree } from "./snapshot-change.ts";
import type { Qcow2Snapshot } from "./snapshot-table.ts";
import { changeSnapshot, createSnapshot, deleteSnapshots, findSnapshot } from "./snapshots.ts";
import { type FinishStateOptions, type InTurn, SnapshotState, type StateWriter } from "./state-writer.ts";
/**
 * What a snapshot is called while its VM state is being written. One that is still called so when an image is
 * opened was left by a crash: nobody is to load it, and the next save drops it.
 */
export const UNFINISHED_SNAPSHOT = "(unfinished save)";

export interface BeginStateOptions {
  /** Room to keep for the state in the snapshot's L1 table, in bytes: the state may not be longer. */
  maxStateBytes: number;
}

/** Keeps the disk as it is now in a snapshot, and opens its VM state for writing. */
export async function beginState(
  core: Qcow2Core,
  options: BeginStateOptions,
  inTurn: InTurn,
): Promise<StateWriter> {
  const snapshot = await createSnapshot(core, {
    name: UNFINISHED_SNAPSHOT,
    stateRoomBytes: options.maxStateBytes,
    deferFlush: true,
  });
  return openForWriting(core, snapshot, inTurn, (options) => {
    const { replaces, ...change } = options;
    return changeSnapshot(core, snapshot.id, change, replaces);
  });
}

/**
 * Opens the VM state of a snapshot for the rewriting of single clusters, in a copy of its tables: until it is
 * finished the snapshot has its old state.
 */
export async function editState(core: Qcow2Core, idOrName: string, inTurn: InTurn): Promise<StateWriter> {
  const edited = findSnapshot(core.image, idOrName);
  const copy = await createSnapshot(core, {
    name: UNFINISHED_SNAPSHOT,
    dateSeconds: edited.dateSeconds,
    dateNanoseconds: edited.dateNanoseconds,
    vmClockNanoseconds: edited.vmClockNanoseconds,
    ...(edited.icount !== undefined && { icount: edited.icount }),
    of: edited,
  });
  return openForWriting(core, copy, inTurn, ({ replaces = [], ...change }) =>
    replaceSnapshots(core, (now) => {
      const old = findSnapshot(core.image, edited.id);
      const working = findSnapshot(core.image, copy.id);
      const { l1OffsetBytes, l1Entries } = working;
      const result: Qcow2Snapshot = { ...old, ...change, l1OffsetBytes, l1Entries };
      checkName(core.image, result.name);
      const dropped = now.filter((each) => each === old || (each !== working && replaces.includes(each.id)));
      const snapshots = now
        .filter((each) => each === old || (each !== working && !dropped.includes(each)))
        .map((each) => (each === old ? result : each));
      return { snapshots, dropped, result };
    }),
  );
}

async function openForWriting(
  core: Qcow2Core,
  snapshot: Qcow2Snapshot,
  inTurn: InTurn,
  name: (options: FinishStateOptions) => Promise<Qcow2Snapshot>,
): Promise<StateWriter> {
  const { l1 } = await snapshotTree(core.image, snapshot);
  const view = core.image.viewSnapshot(snapshot, new Uint8Array(l1.buffer));
  return new SnapshotState(core, snapshot, view, inTurn, name);
}

/** Drops what a crash left of saves that were not finished. */
export async function dropUnfinished(core: Qcow2Core): Promise<void> {
  const left = core.image.snapshots.filter(({ name }) => name === UNFINISHED_SNAPSHOT).map(({ id }) => id);
  if (left.length > 0) await deleteSnapshots(core, left);
}
