import { useEffect, useState } from "react";
import type { SnapshotDescription } from "../../emulator/index.ts";
import type { MachineSession, SavedState } from "../open/machine-session.ts";

/** A snapshot and what could be found out about it. */
export interface SnapshotListing {
  readonly snapshot: SavedState;
  /** Undefined while it is being read, and where that failed. */
  readonly description: SnapshotDescription | undefined;
  readonly failure: string | undefined;
}

/** The snapshots of a machine, the newest first: now, and after every change. Undefined until first read. */
export function useSnapshots(session: MachineSession): readonly SnapshotListing[] | undefined {
  const [list, setList] = useState<readonly SnapshotListing[]>();
  useEffect(() => {
    let gone = false;
    let reading = false;
    let again = false;
    const read = async () => {
      again = reading;
      if (reading) return;
      reading = true;
      do {
        again = false;
        const next = await describeAll(session).catch(() => undefined);
        if (gone) return;
        // Of a machine that was closed meanwhile there is nothing to read; what was shown stays.
        if (next) setList(next);
      } while (again);
      reading = false;
    };
    const changed = () => {
      // A save tells of every step it makes; the list changes with its end.
      if (!session.activity) void read();
    };
    void read();
    const end = session.onChange(changed);
    return () => {
      gone = true;
      end();
    };
  }, [session]);
  return list;
}

async function describeAll(session: MachineSession): Promise<SnapshotListing[]> {
  const snapshots = [...session.snapshots()].reverse();
  return Promise.all(
    snapshots.map(async (snapshot) => {
      try {
        const description = await session.describeSnapshot(snapshot.id);
        return { snapshot, description, failure: undefined };
      } catch (error) {
        return { snapshot, description: undefined, failure: (error as Error).message };
      }
    }),
  );
}
