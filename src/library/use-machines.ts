import { useEffect, useState } from "react";
import { deleteLeftovers, storedSizes } from "./block-store.ts";
import { library } from "./library.ts";
import { type MachineRecord, ownersOf, ownFileIds } from "./machine-record.ts";

export interface MachineListing {
  readonly record: MachineRecord;
  /** What its own files take in this browser. */
  readonly storedBytes: number;
}

export interface Machines {
  /** Undefined until they were read. */
  readonly list: readonly MachineListing[] | undefined;
  readonly error: string | undefined;
}

let swept = false;

/** All machines and what they take: now, and after every change in this tab or another. */
export async function listMachines(): Promise<MachineListing[]> {
  const [records, sizes] = await Promise.all([library.list(), storedSizes()]);
  const owners = ownersOf(records);
  return records.map((record) => ({
    record,
    storedBytes: ownFileIds(record)
      .filter((fileId) => owners.get(fileId) === record.id)
      .reduce((total, fileId) => total + (sizes.get(fileId) ?? 0), 0),
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
