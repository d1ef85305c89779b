import { useSyncExternalStore } from "react";

/** What has the whole screen; nothing beside it is seen. Null: nothing has. */
export function useFullScreen(): Element | null {
  return useSyncExternalStore(onChange, () => document.fullscreenElement);
}

function onChange(listener: () => void): () => void {
  document.addEventListener("fullscreenchange", listener);
  return () => document.removeEventListener("fullscreenchange", listener);
}
