import { useEffect, useState } from "react";
import { deleteLeftovers, storedFiles } from "./block-store.ts";
import { library } from "./library.ts";
import { type MachineRecord, ownersOf, ownFileIds } from "./machine-record.ts";

export interface MachineListing {
  readonly record: MachineRecord;
  /** What its own files take in this browser. */
  readonly storedBytes: number;
  /** A file of the person's that it needs is not wholly copied into this browser. */
  readonly needsFile: boolean;
}

export interface Machines {
  /** Undefined until they were read. */
  readonly list: readonly MachineListing[] | undefined;
  readonly error: string | undefined;
}

let swept = false;

/** All machines and what they take: now, and after every change in this tab or another. */
export async function listMachines(): Promise<MachineListing[]> {
  const [records, stored] = await Promise.all([library.list(), storedFiles()]);
  const files = new Map(stored.map((file) => [file.fileId, file]));
  const owners = ownersOf(records);
  return records.map((record) => ({
    record,
    storedBytes: ownFileIds(record)
      .filter((fileId) => owners.get(fileId) === record.id)
      .reduce((total, fileId) => total + (files.get(fileId)?.storedBytes ?? 0), 0),
    // A copy that was given up is not there at all.
    needsFile: ownFileIds(record).some((fileId) => {
      const file = files.get(fileId);
      return !file || file.importOf !== undefined;
    }),
  }));
}

export function useMachines(): Machines {
  const [machines, setMachines] = useState<Machines>({ list: undefined, error: undefined });
  useEffect(() => {
    let gone = false;
    const read = () => {
      listMachines().then(
        (list) => !gone && setMachines({ list, error: undefined }),
        (error: unknown) => !gone && setMachines({ list: [], error: String((error as Error).message) }),
      );
    };
    read();
    if (!swept) {
      swept = true;
      // Tidying up that fails is tried again with the next visit.
      deleteLeftovers().catch(() => {});
    }
    const end = library.onChange(read);
    return () => {
      gone = true;
      end();
    };
  }, []);
  return machines;
}
