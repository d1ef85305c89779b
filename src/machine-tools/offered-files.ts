import { useSyncExternalStore } from "react";

let offered: readonly File[] | undefined;
const listeners = new Set<() => void>();

/**
 * Shows files to the machine on screen, which asks what to do with them.
 *
 * @returns false when no machine is on screen that could take them.
 */
export function offerFiles(files: readonly File[]): boolean {
  if (!takesFiles()) return false;
  set(files);
  return true;
}

/** Whether a machine is on screen that files can be offered to. */
export function takesFiles(): boolean {
  return listeners.size > 0;
}

/** The files that wait for an answer. Whoever uses this says that there is a machine that takes files. */
export function useOfferedFiles(): readonly [readonly File[] | undefined, () => void] {
  const files = useSyncExternalStore(subscribe, () => offered);
  return [files, () => set(undefined)];
}

function set(files: readonly File[] | undefined): void {
  offered = files;
  for (const listener of listeners) listener();
}

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  return () => {
    listeners.delete(listener);
    // Nobody is left who could answer.
    if (listeners.size === 0) offered = undefined;
  };
}
