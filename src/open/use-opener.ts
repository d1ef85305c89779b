import { useSyncExternalStore } from "react";
import type { MachineSession } from "./machine-session.ts";
import { type OpenState, opener } from "./opener.ts";

export function useOpenState(): OpenState {
  return useSyncExternalStore(opener.onChange, opener.state);
}

/** A value that changes whenever the session does, and the session's state. */
export function useSessionState(session: MachineSession | undefined): MachineSession["state"] | undefined {
  return useSyncExternalStore(
    (listener) => session?.onChange(listener) ?? (() => {}),
    () => session?.state,
  );
}
