import { type BlockFile, type IndexedDbFile, type Metadata, toByreError } from "../../disk/index.ts";
import type { Machine } from "../../emulator/index.ts";
import { iconIn } from "../appliance/icon-data.ts";
import { readImageMetadata, writeImageMetadata } from "../appliance/image-metadata.ts";
import { library } from "../library/library.ts";
import type { BaseSnapshot, MachineRecord, PinnedFile } from "../library/machine-record.ts";
import type { ApplianceWishes } from "../settings/machine-settings.ts";
import { SessionSettings } from "../settings/session-settings.ts";
import { asBlob, type ExportOptions, type ExportTarget, exportOpenDisk, orAbort } from "./export-disk.ts";
import { machineBase } from "./machine-base.ts";
import type { MachineDisk } from "./machine-disk.ts";
import type { MachineImport } from "./machine-import.ts";
import type { MachineLock } from "./machine-lock.ts";
import type { MachineSession } from "./machine-session.ts";
import type { OpenDrives } from "./record-drives.ts";
import type { RunMark } from "./run-mark.ts";
import { SessionStates } from "./session-states.ts";

export interface SessionParts {
  readonly record: MachineRecord | undefined;
  readonly name: string;
  readonly notes: readonly string[];
  readonly machine: Machine;
  readonly disk: MachineDisk;
  /** What is in the other drives. */
  readonly drives: OpenDrives;
  /** The files of the base, from the top down. */
  readonly pins: readonly PinnedFile[];
  /** The snapshot of the base that the overlay is over. */
  readonly baseSnapshot: BaseSnapshot | undefined;
  /** What the appliance asks for. */
  readonly wishes: ApplianceWishes;
  /** Undefined where all of its files are in this browser, or come from a server. */
  readonly copying: MachineImport | undefined;
  readonly lock: MachineLock | undefined;
  /** Undefined for a machine that is thrown away. */
  readonly mark: RunMark | undefined;
  readonly screenElement: HTMLElement;
}

/** Puts a started machine and its disk together. The session owns both from now on, and the lock. */
export function createSession(parts: SessionParts): MachineSession {
  const { record, notes, machine, disk, drives, lock, mark, screenElement } = parts;
  const stored = [...(isStored(disk.overlay) ? [disk.overlay] : []), ...drives.stored];
  const remote = () => [...disk.remote, ...drives.remote];
  const listeners = new Set<() => void>();
  const changed = () => {
    for (const listener of listeners) listener();
  };
  let { name } = parts;
  // It can be renamed in the gallery while it is open, in another tab too.
  const endNaming =
    record &&
    library.onChange(async () => {
      // A list that cannot be read now is read with its next change.
      const next = (await library.get(record.id).catch(() => undefined))?.name;
      if (next === undefined || next === name) return;
      name = next;
      changed();
    });
  const settings = new SessionSettings(parts, changed);
  // A reset boots, and what was chosen takes effect with every boot.
  const boot = () => machine.reset({ configuration: settings.configuration });
  const renamed: SessionParts = {
    ...parts,
    get name() {
      return name;
    },
  };
  const states = new SessionStates(renamed, changed);
  const endFollowing = [machine.onChange(changed), mark?.follow(machine) ?? (() => {})];
  let closing: Promise<void> | undefined;
  let stoppedByCommit = false;
  let greets = !record?.greeted;

  // The guest did not ask for this commit and does not wait for it, so the machine has to be told: a pause
  // flushes, meets the same error, and stops where nothing is lost.
  const endCommitErrors = stored.map((file) =>
    file.onCommitError(() => {
      if (machine.state !== "running") return;
      stoppedByCommit = true;
      machine.pause().then(goOn, (error: unknown) => {
        // A reset came into it: the machine is not stopped for this any more.
        if (toByreError(error).code === "CANCELLED") stoppedByCommit = false;
      });
    }),
  );
  async function goOn(): Promise<void> {
    if (stoppedByCommit && machine.state === "paused") await machine.resume();
    stoppedByCommit = false;
  }
  const commitOnLeave = () => {
    for (const file of stored) file.commitOnHide();
  };
  const commitOnHide = () => {
    if (document.visibilityState === "hidden") commitOnLeave();
  };
  const exportTo = (target: ExportTarget, options: ExportOptions = {}) =>
    orAbort(target, () =>
      states.export(options, (hooks) =>
        exportOpenDisk(name, machine, disk, target, { ...options, ...hooks }),
      ),
    );
  document.addEventListener("visibilitychange", commitOnHide);
  window.addEventListener("pagehide", commitOnLeave);

  async function close(): Promise<void> {
    await states.callOff();
    if (machine.state !== "stopped") {
      // In state `error` a power-off stops whatever happens, and what is not durable would be gone.
      if (machine.state === "error") await machine.flush();
      await machine.powerOff();
    }
    document.removeEventListener("visibilitychange", commitOnHide);
    window.removeEventListener("pagehide", commitOnLeave);
    for (const end of endCommitErrors) end();
    await machine.close();
    states.end();
    for (const end of endFollowing) end();
    endNaming?.();
    // Everything is durable, or was given up by a power-off in state `error`: then this fails once more.
    await drives.close().catch(() => {});
    await disk.device.close().catch(() => {});
    await mark?.settled();
    lock?.release();
  }

  return {
    id: record?.id,
    get name() {
      return name;
    },
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
    pointer: machine.pointer,
    sound: machine.sound,
    output: machine.output,
    media: machine.media,
    network: machine.network,
    async insertFiles(files, as) {
      const { insertIntoRunning } = await import("../machine-tools/insert-files.ts");
      await insertIntoRunning(this, files, as);
    },
    screenElement,
    get memoryMiB() {
      return machine.configuration.memoryMiB;
    },
    pause: () => machine.pause(),
    resume: () => (mark?.suspended ? states.goOnSuspended(mark.suspended) : machine.resume()),
    reset() {
      const start = () => (mark?.suspended ? mark.starting(undefined, boot) : boot());
      // Of a machine that is being suspended only then is known whether it is off, and what that start undoes.
      return states.activity?.kind === "suspending" ? states.quietly(start) : start();
    },
    async powerOff() {
      await machine.powerOff();
      // Whoever closes the page now is not asked about a machine that was on.
      await mark?.settled();
    },
    async retry() {
      await machine.retry();
      await goOn();
    },
    flush: () => machine.flush(),
    save: (stateName, options) => states.save(stateName, options),
    load: (idOrName, options) => states.load(idOrName, options),
    snapshots: () => states.list(),
    describeSnapshot: (idOrName) => machine.describeSnapshot(states.find(idOrName).id),
    editSnapshot: (idOrName, change) => states.edit(idOrName, change),
    deleteSnapshot: (idOrName) => states.delete(idOrName),
    startFromSnapshot: (idOrName, options) => states.startNew(idOrName, options),
    base: machineBase(renamed, states),
    suspend: (options) => states.suspend(options),
    get suspended() {
      return mark?.suspended !== undefined;
    },
    get autosaveMinutes() {
      return states.autosaveMinutes;
    },
    setAutosaveMinutes: (minutes) => states.setAutosaveMinutes(minutes),
    get activity() {
      return states.activity;
    },
    get busy() {
      return states.busy;
    },
    settled: () => states.settled(),
    get notices() {
      return states.notices;
    },
    dismissNotice: (id) => states.dismissNotice(id),
    about: () => readImageMetadata(disk.device),
    setAbout: (metadata) =>
      states.quietly(async () => {
        const before = saidBy(disk);
        await writeImageMetadata(disk.device, metadata);
        await settings.imageSays(before, metadata);
        if (record) await library.update(record.id, { icon: iconIn(metadata) });
        changed();
      }),
    get settings() {
      return settings.view;
    },
    setSettings: (chosen) => settings.set(chosen),
    copying: parts.copying,
    get greets() {
      return greets;
    },
    greeted() {
      if (!greets) return;
      greets = false;
      // One that cannot be remembered is shown once more.
      if (record) library.update(record.id, { greeted: true }).catch(() => {});
    },
    stats() {
      const http = remote().map((file) => file.stats());
      return {
        ...machine.stats(),
        httpRequests: sum(http.map(({ httpRequests }) => httpRequests)),
        httpBytes: sum(http.map(({ httpBytes }) => httpBytes)),
        commits: sum(stored.map((file) => file.stats().commits)),
      };
    },
    fetched: () => ({
      httpBytes: sum(remote().map((file) => Math.min(file.stats().httpBytes, file.sizeBytes))),
      totalBytes: sum(remote().map(({ sizeBytes }) => sizeBytes)),
    }),
    exportDisk: (options) => asBlob((target) => exportTo(target, options)),
    exportDiskTo: exportTo,
    onChange(listener) {
      listeners.add(listener);
      return () => {
        listeners.delete(listener);
      };
    },
    close() {
      closing ??= close().catch((error: unknown) => {
        closing = undefined;
        throw error;
      });
      return closing;
    },
  };
}

/** What the machine's image says of itself; nothing where that cannot be read. */
function saidBy({ device }: MachineDisk): Metadata {
  try {
    return readImageMetadata(device).metadata;
  } catch (error) {
    const { code } = toByreError(error);
    if (code === "METADATA_INVALID" || code === "UNSUPPORTED_VERSION") return new Map();
    throw error;
  }
}

function isStored(file: BlockFile): file is IndexedDbFile {
  return "commitOnHide" in file;
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
