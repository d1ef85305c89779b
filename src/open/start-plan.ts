import type { Qcow2Snapshot } from "../../disk/index.ts";
import {
  type BaseSnapshot,
  DEFAULT_AUTOSAVE_MINUTES,
  type MachineRecord,
  type StateReference,
} from "../library/machine-record.ts";
import { AUTOSAVE_NAME } from "./autosave.ts";

/** What the state is called that a suspended machine goes on from. */
export const SUSPENDED_NAME = "suspended";

/** How a machine starts: its disk is booted, or it goes on from a state of its own or of its base. */
export type StartPlan =
  | { readonly kind: "boot" }
  | { readonly kind: "base"; readonly snapshot: BaseSnapshot }
  | { readonly kind: "own"; readonly state: StateReference }
  /** It was not switched off; the person chooses between this state and the disk as it is. */
  | { readonly kind: "ask"; readonly state: StateReference };

/**
 * How to start a machine that this browser keeps.
 *
 * A disk that was written to since a state was saved never goes back to that state unasked: a suspended machine
 * has written nothing since, a machine that was not switched off is asked about.
 *
 * @param disk the snapshots of its overlay, and whether the guest has never written to it.
 */
export function planStart(
  record: MachineRecord,
  disk: { readonly snapshots: readonly Qcow2Snapshot[]; readonly pristine: boolean },
): StartPlan {
  const states = disk.snapshots.map((snapshot) => ({ ...snapshot, atMs: savedAtMs(snapshot) }));
  const find = (wanted: StateReference | undefined) =>
    states.find(({ id, atMs }) => id === wanted?.id && atMs === wanted.atMs);
  const { suspended, openedAt, startedFrom, baseSnapshot } = record;

  const goOn = find(suspended);
  if (goOn) return { kind: "own", state: reference(goOn) };
  if (openedAt !== undefined) {
    // Saved since it was switched on; of a suspend too, when the crash came before the record knew of it.
    const since = states.filter(
      ({ name, atMs }) => [AUTOSAVE_NAME, SUSPENDED_NAME].includes(name) && atMs >= openedAt,
    );
    // What it was started from is minutes old at most only where it saves itself.
    const saves = (record.autosaveMinutes ?? DEFAULT_AUTOSAVE_MINUTES) > 0;
    const from = saves ? find(startedFrom) : undefined;
    const [newest] = [...since, ...(from ? [from] : [])].sort((a, b) => b.atMs - a.atMs);
    if (newest) return { kind: "ask", state: reference(newest) };
  }
  if (baseSnapshot && !baseSnapshot.diskOnly && disk.pristine)
    return { kind: "base", snapshot: baseSnapshot };
  return { kind: "boot" };
}

/** Milliseconds since 1970. */
export function savedAtMs({ dateSeconds, dateNanoseconds }: Qcow2Snapshot): number {
  return dateSeconds * 1000 + Math.floor(dateNanoseconds / 1_000_000);
}

function reference({ id, atMs }: StateReference): StateReference {
  return { id, atMs };
}
