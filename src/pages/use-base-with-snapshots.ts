import { useEffect, useState } from "react";
import type { MachineRecord } from "../library/machine-record.ts";
import type { MachineSession } from "../open/machine-session.ts";

/** The name of the image that a machine is made of, where that has snapshots. Undefined too while it is not known. */
export function useBaseWithSnapshots(machine: MachineRecord | MachineSession): string | undefined {
  const [found, setFound] = useState(false);
  const open = "exportDiskTo" in machine;
  useEffect(() => {
    if (open) return;
    const abort = new AbortController();
    const { signal } = abort;
    import("../open/kept-base.ts")
      .then(({ baseHasSnapshots }) => baseHasSnapshots(machine, signal))
      // Where it cannot be read now, the export says so.
      .then((has) => !signal.aborted && setFound(has))
      .catch(() => {});
    return () => abort.abort();
  }, [machine, open]);
  if (open) return machine.base && machine.base.snapshots.length > 0 ? machine.base.name : undefined;
  return found ? machine.base.name : undefined;
}
