/** One thing that must be there before a machine can start. */
export interface ProgressStep {
  readonly key: string;
  readonly label: string;
  readonly loadedBytes: number;
  /** Undefined where nobody says. */
  readonly totalBytes: number | undefined;
  readonly done: boolean;
}

/** What is being fetched or copied, and how much of how much. */
export interface Progress {
  /** A new array after every change. */
  steps(): readonly ProgressStep[];
  begin(key: string, label: string, totalBytes?: number): void;
  advance(key: string, loadedBytes: number, totalBytes?: number): void;
  finish(key: string): void;
  onChange(listener: () => void): () => void;
}

export function createProgress(): Progress {
  const listeners = new Set<() => void>();
  let steps: readonly ProgressStep[] = [];

  function change(key: string, edit: (step: ProgressStep) => ProgressStep): void {
    steps = steps.map((step) => (step.key === key ? edit(step) : step));
    for (const listener of listeners) listener();
  }

  return {
    steps: () => steps,
    begin(key, label, totalBytes) {
      if (!steps.some((step) => step.key === key)) {
        steps = [...steps, { key, label, loadedBytes: 0, totalBytes, done: false }];
      }
      change(key, (step) => ({ ...step, label, totalBytes: totalBytes ?? step.totalBytes }));
    },
    advance(key, loadedBytes, totalBytes) {
      change(key, (step) => ({ ...step, loadedBytes, totalBytes: totalBytes ?? step.totalBytes }));
    },
    finish(key) {
      change(key, (step) => ({ ...step, done: true }));
    },
    onChange(listener) {
      listeners.add(listener);
      return () => {
        listeners.delete(listener);
      };
    },
  };
}
