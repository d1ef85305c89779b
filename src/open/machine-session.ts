import { type BlockFile, ByreError, type IndexedDbFile } from "../../disk/index.ts";
import type {
  Machine,
  MachineKeyboard,
  MachineScreen,
  MachineSerial,
  MachineState,
} from "../../emulator/index.ts";
import type { MachineRecord } from "../library/machine-record.ts";
import { readWhole } from "./export-overlay.ts";
import { type MachineDisk, overlayName } from "./machine-disk.ts";
import type { MachineLock } from "./machine-lock.ts";

/** Counted since the machine was opened. */
export interface SessionStats {
  readonly bytesRead: number;
  readonly bytesWritten: number;
  readonly requests: number;
  readonly cacheHits: number;
  readonly flushes: number;
  readonly dirtyBytes: number;
  readonly httpRequests: number;
  readonly httpBytes: number;
  /** Transactions that made what the guest wrote durable. */
  readonly commits: number;
}

/** One saved state of a machine. */
export interface SavedState {
  readonly id: string;
  readonly name: string;
  /** Milliseconds since 1970. */
  readonly savedAt: number;
  /** Memory and devices; 0 for a snapshot of the disk alone. */
  readonly stateBytes: number;
}

/** A machine on the page, with all that belongs to it; `window.byre.machine` is this. */
export interface MachineSession {
  /** Undefined for a machine that is thrown away. */
  readonly id: string | undefined;
  readonly name: string;
  /** What the link asked for and was not done, in words. */
  readonly notes: readonly string[];
  readonly state: MachineState;
  readonly error: { readonly code: string; readonly message: string } | undefined;
  readonly serial: MachineSerial;
  readonly screen: MachineScreen;
  readonly keyboard: MachineKeyboard;
  /** What the guest's screen is drawn into; whoever shows the machine puts it into the document. */
  readonly screenElement: HTMLElement;
  readonly memoryMiB: number;

  pause(): Promise<void>;
  resume(): Promise<void>;
  reset(): Promise<void>;
  powerOff(): Promise<void>;
  /** After an I/O error: makes the failed requests again and goes on. */
  retry(): Promise<void>;
  flush(): Promise<void>;
  /** Saves the running machine in its image, under a name; it stops only for a moment. */
  save(name: string, options?: { onProgress?: (fraction: number) => void }): Promise<void>;
  /** Puts machine and disk back to a saved state; what they are now is gone. */
  load(idOrName: string): Promise<void>;
  /** The saved states, oldest first. */
  snapshots(): SavedState[];
  deleteSnapshot(idOrName: string): Promise<void>;
  stats(): SessionStats;
  /** How much of the files that come over HTTP was fetched. */
  fetched(): { readonly httpBytes: number; readonly totalBytes: number };
  /**
   * The machine's disk as a file.
   *
   * @param options.flatten true for an image that needs no base; not there yet (UNSUPPORTED_FEATURE).
   */
  exportDisk(options?: { flatten?: boolean; compress?: boolean }): Promise<Blob>;
  /** Calls back when state, error or name changed. */
  onChange(listener: () => void): () => void;
  /**
   * Switches off, frees the emulator and lets go of the disk.
   *
   * @throws ByreError what kept the guest's writes from becoming durable; the machine is still there then,
   *   in state `error`. `powerOff` before it gives them up.
   */
  close(): Promise<void>;
}

export interface SessionParts {
  readonly record: MachineRecord | undefined;
  readonly name: string;
  readonly notes: readonly string[];
  readonly machine: Machine;
  readonly disk: MachineDisk;
  readonly lock: MachineLock | undefined;
  readonly screenElement: HTMLElement;
}

/** Puts a started machine and its disk together. The session owns both from now on, and the lock. */
export function createSession(parts: SessionParts): MachineSession {
  const { record, name, notes, machine, disk, lock, screenElement } = parts;
  const stored = isStored(disk.overlay) ? disk.overlay : undefined;
  let closing: Promise<void> | undefined;
  let stoppedByCommit = false;

  // The guest did not ask for this commit and does not wait for it, so the machine has to be told: a pause
  // flushes, meets the same error, and stops where nothing is lost.
  const endCommitErrors = stored?.onCommitError(() => {
    if (machine.state !== "running") return;
    stoppedByCommit = true;
    machine.pause().then(goOn, () => {});
  });
  async function goOn(): Promise<void> {
    if (stoppedByCommit && machine.state === "paused") await machine.resume();
    stoppedByCommit = false;
  }
  const commitOnHide = () => {
    if (document.visibilityState === "hidden") stored?.commitOnHide();
  };
  const commitOnLeave = () => stored?.commitOnHide();
  document.addEventListener("visibilitychange", commitOnHide);
  window.addEventListener("pagehide", commitOnLeave);

  async function exportDisk(options: { flatten?: boolean } = {}): Promise<Blob> {
    if (options.flatten) {
      throw new ByreError(
        "UNSUPPORTED_FEATURE",
        `${name} cannot be exported without its base yet. Export the overlay, and join the two with ` +
          `"qemu-img convert -O qcow2 '${overlayName(name)}' whole.qcow2" in the folder of the base.`,
        { machine: name },
      );
    }
    const wasRunning = machine.state === "running";
    if (wasRunning) await machine.pause();
    try {
      return await readWhole(disk.overlay);
    } finally {
      if (wasRunning) await machine.resume();
    }
  }

  async function close(): Promise<void> {
    if (machine.state !== "stopped") {
      // In state `error` a power-off stops whatever happens, and what is not durable would be gone.
      if (machine.state === "error") await machine.flush();
      await machine.powerOff();
    }
    document.removeEventListener("visibilitychange", commitOnHide);
    window.removeEventListener("pagehide", commitOnLeave);
    endCommitErrors?.();
    await machine.close();
    // Everything is durable, or was given up by a power-off in state `error`: then this fails once more.
    await disk.device.close().catch(() => {});
    lock?.release();
  }

  return {
    id: record?.id,
    name,
    notes,
    get state() {
      return machine.state;
    },
    get error() {
      return machine.error;
    },
    serial: machine.serial,
    screen: machine.screen,
    keyboard: machine.keyboard,
    screenElement,
    memoryMiB: machine.configuration.memoryMiB,
    pause: () => machine.pause(),
    resume: () => machine.resume(),
    reset: () => machine.reset(),
    powerOff: () => machine.powerOff(),
    async retry() {
      await machine.retry();
      await goOn();
    },
    flush: () => machine.flush(),
    save: async (stateName, options) => {
      await machine.save(stateName, options);
    },
    load: (idOrName) => machine.load(idOrName),
    snapshots: () =>
      machine.snapshots().map((snapshot) => ({
        id: snapshot.id,
        name: snapshot.name,
        savedAt: snapshot.dateSeconds * 1000 + Math.floor(snapshot.dateNanoseconds / 1_000_000),
        stateBytes: snapshot.vmStateBytes,
      })),
    deleteSnapshot: (idOrName) => machine.deleteSnapshot(idOrName),
    stats() {
      const http = disk.remote.map((file) => file.stats());
      return {
        ...machine.stats(),
        httpRequests: sum(http.map(({ httpRequests }) => httpRequests)),
        httpBytes: sum(http.map(({ httpBytes }) => httpBytes)),
        commits: stored?.stats().commits ?? 0,
      };
    },
    fetched: () => ({
      httpBytes: sum(disk.remote.map((file) => Math.min(file.stats().httpBytes, file.sizeBytes))),
      totalBytes: sum(disk.remote.map(({ sizeBytes }) => sizeBytes)),
    }),
    exportDisk,
    onChange: (listener) => machine.onChange(listener),
    close() {
      closing ??= close().catch((error: unknown) => {
        closing = undefined;
        throw error;
      });
      return closing;
    },
  };
}

function isStored(file: BlockFile): file is IndexedDbFile {
  return "commitOnHide" in file;
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
