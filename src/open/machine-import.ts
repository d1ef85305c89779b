import { type ImportingFile, type ImportProgress, toByreError } from "../../disk/index.ts";
import { forgetSources } from "../library/import-sources.ts";
import { library } from "../library/library.ts";

/** Who looks on is told of a change of state, and of every so many parts of the whole. */
const STEPS = 200;

/**
 * The copying of a machine's files into this browser while the machine runs from where they are. One file is copied
 * after the other.
 */
export interface MachineImport {
  readonly fileNames: readonly string[];
  /** A new object after every change. Of all files together; `failed` says in `error` why. */
  readonly progress: ImportProgress;
  /** Stops copying; it does not begin by itself when the machine is opened again. */
  pause(): void;
  /** Goes on copying. */
  resume(): void;
  /**
   * Gives the copying up and deletes what there is of it. The machine goes on reading the person's files, and asks for
   * them when it is opened again.
   *
   * @throws ByreError STORAGE.
   */
  cancel(): Promise<void>;
  /** Calls back after every change of `progress`. Returns a function that ends it. */
  onChange(listener: () => void): () => void;
}

/**
 * Follows the copying of files.
 *
 * @param machineId whose record says whether it is paused.
 * @param files at least one, none of which is being copied yet.
 * @param paused leaves it at that until `resume`.
 */
export function createMachineImport(
  machineId: string,
  files: readonly ImportingFile[],
  paused: boolean,
): MachineImport {
  const listeners = new Set<() => void>();
  let wanted = !paused;
  let progress = sumOf(files);
  let shown = "";

  const current = () => files.find((file) => file.progress.state !== "copied");
  const update = () => {
    if (wanted && current()?.progress.state === "paused") current()?.resume();
    const next = sumOf(files);
    const step = `${next.state} ${Math.floor((next.copiedBytes * STEPS) / Math.max(1, next.totalBytes))}`;
    if (step === shown) return;
    shown = step;
    progress = next;
    // What is forgotten too late is only never asked for.
    if (next.state === "copied") forgetSources(files.map(({ fileId }) => fileId)).catch(() => {});
    for (const listener of listeners) listener();
  };
  for (const file of files) file.onProgress(update);
  const want = (next: boolean) => {
    wanted = next;
    // What cannot be remembered only makes the next opening begin to copy, or not.
    library.update(machineId, { importPaused: next ? undefined : true }).catch(() => {});
  };
  update();

  return {
    fileNames: files.map(({ name }) => name),
    get progress() {
      return progress;
    },
    pause() {
      want(false);
      current()?.pause();
      update();
    },
    resume() {
      want(true);
      current()?.resume();
      update();
    },
    async cancel() {
      want(false);
      const results = await Promise.allSettled(files.map((file) => file.cancel()));
      update();
      for (const result of results) if (result.status === "rejected") throw toByreError(result.reason);
    },
    onChange(listener) {
      listeners.add(listener);
      return () => {
        listeners.delete(listener);
      };
    },
  };
}

function sumOf(files: readonly ImportingFile[]): ImportProgress {
  const all = files.map(({ progress }) => progress);
  const states = new Set(all.map(({ state }) => state));
  const state = (["cancelled", "failed", "copying", "paused"] as const).find((each) => states.has(each));
  return {
    state: state ?? "copied",
    copiedBytes: all.reduce((total, { copiedBytes }) => total + copiedBytes, 0),
    totalBytes: all.reduce((total, { totalBytes }) => total + totalBytes, 0),
    error: all.find(({ error }) => error)?.error,
  };
}
