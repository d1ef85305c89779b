import { useEffect, useReducer } from "react";
import type { MachineSession } from "../open/machine-session.ts";

/** Renders again whenever the session tells of a change: its state, snapshots, activity and notices. */
export function useSession(session: MachineSession | undefined): MachineSession | undefined {
  const [, refresh] = useReducer((count: number) => count + 1, 0);
  useEffect(() => {
    // What changed between the first look and now.
    refresh();
    return session?.onChange(refresh);
  }, [session]);
  return session;
}
