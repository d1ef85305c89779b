import { useSyncExternalStore } from "react";

let given: readonly File[] = [];
const listeners = new Set<() => void>();

/** Hands over files that are no machine by themselves, until the person has said what to do with them. */
export function giveFiles(files: readonly File[]): void {
  given = files;
  for (const listener of listeners) listener();
}

export function useGivenFiles(): readonly File[] {
  return useSyncExternalStore(subscribe, () => given);
}

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  return () => {
    listeners.delete(listener);
  };
}
