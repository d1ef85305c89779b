import { machineName } from "../library/machine-record.ts";
import { SNAPSHOT_KEYS } from "./use-snapshot-keys.ts";

/** What quick saves are called: there is one, and the next takes its place. */
export const QUICK_NAME = "quick";

/** A line or two for the list; the image's own limit is larger. */
export const MAX_DESCRIPTION_LENGTH = 1000;

/** What the machine's own snapshots are for, in words; undefined for those that a person named. */
const MEANINGS: ReadonlyMap<string, string> = new Map([
  [QUICK_NAME, `${SNAPSHOT_KEYS.restore} restores it`],
  ["autosave", "replaced by the next autosave"],
  ["suspended", "where it was suspended"],
]);

export function meaningOf(name: string): string | undefined {
  return MEANINGS.get(name);
}

/** A snapshot's name as one line; an image may hold any text, and none. */
export function shownName({ id, name }: { id: string; name: string }): string {
  return machineName(name) || `Snapshot ${id}`;
}

/** "Snapshot 1", or the first number that is free. */
export function proposedName(taken: readonly string[]): string {
  for (let number = 1; ; number++) {
    const name = `Snapshot ${number}`;
    if (!taken.includes(name)) return name;
  }
}
