export interface ChangeNotifier {
  /** @returns removes the listener. */
  add(listener: () => void): () => void;
  notify(): void;
}

export function createChangeNotifier(): ChangeNotifier {
  const listeners = new Set<() => void>();
  return {
    add(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    notify() {
      // A copy: a listener may remove itself.
      for (const listener of [...listeners]) listener();
    },
  };
}
