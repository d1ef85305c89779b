import type { Metadata } from "../../disk/index.ts";
import type {
  MachineKeyboard,
  MachineMedia,
  MachineNetwork,
  MachineOutput,
  MachinePointer,
  MachineScreen,
  MachineSerial,
  MachineSound,
  MachineState,
  SnapshotChange,
  SnapshotDescription,
} from "../../emulator/index.ts";
import type { ImageMetadata } from "../appliance/image-metadata.ts";
import type { AutosaveMinutes, MachineSettings } from "../library/machine-record.ts";
import type { SettingsView } from "../settings/session-settings.ts";
import type { ExportOptions, ExportTarget } from "./export-disk.ts";
import type { MachineImport } from "./machine-import.ts";

/** Counted since the machine was opened. */
export interface SessionStats {
  readonly bytesRead: number;
  readonly bytesWritten: number;
  readonly requests: number;
  readonly cacheHits: number;
  readonly flushes: number;
  readonly dirtyBytes: number;
  /** Of the frames that the guest's network card has taken and sent. */
  readonly networkBytesIn: number;
  readonly networkBytesOut: number;
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

/** What is being done with saved states, or the disk as a whole. */
export interface SessionActivity {
  readonly kind: "saving" | "loading" | "suspending" | "autosaving" | "exporting";
  /** Of the saved state; of the machine that is exported. */
  readonly name: string;
  /** 0 to 1. */
  readonly fraction: number;
  /** Calls it off: machine and image are then as before. Undefined once it was called off. */
  readonly cancel?: () => void;
}

/** Something that went wrong without stopping the machine. */
export interface SessionNotice {
  readonly id: string;
  readonly message: string;
  readonly code?: string;
}

export interface WorkOptions {
  /** Told how much is done, 0 to 1. */
  readonly onProgress?: (fraction: number) => void;
  /** Aborted: it ends with CANCELLED, and everything is as before. */
  readonly signal?: AbortSignal;
}

/** What is known of a snapshot of a base. It is not the machine's, so there are no sizes of what deleting it frees. */
export type BaseSnapshotDescription = Omit<SnapshotDescription, "ownBytes" | "sharedBytes">;

/** The image that a machine is made of. It is only read: what is in it stays there, and other machines may share it. */
export interface MachineBase {
  readonly name: string;
  /** Id of the snapshot that the machine was started from; undefined: from the disk as it is in the image. */
  readonly startedFrom: string | undefined;
  /** All of them, oldest first. An export of the machine is without them. */
  readonly snapshots: readonly SavedState[];
  /** @throws ByreError SNAPSHOT_NOT_FOUND, what reading meets. */
  describeSnapshot(idOrName: string): Promise<BaseSnapshotDescription>;
  /**
   * Makes another machine over the image, from one of its snapshots, kept beside this one; this one goes on.
   *
   * @param options.diskOnly true: it boots the disk as it was then. Default: it goes on from the saved machine, if
   *   there is one.
   * @returns the new machine's id.
   * @throws ByreError SNAPSHOT_NOT_FOUND; STATE_INVALID, UNSUPPORTED_VERSION for a state that cannot be read; CANCELLED,
   *   QUOTA_EXCEEDED. Nothing is kept then.
   */
  startFromSnapshot(
    idOrName: string,
    options?: WorkOptions & { readonly diskOnly?: boolean },
  ): Promise<string>;
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
  readonly pointer: MachinePointer;
  readonly sound: MachineSound;
  /** What the guest has written to its second serial port. */
  readonly output: MachineOutput;
  readonly media: MachineMedia;
  readonly network: MachineNetwork;
  /**
   * Gives files to the running machine, in the place of what is in the drive.
   *
   * @param as `cdrom`, `floppy`: the first file is an image of one. `files`: all are on a CD that is made of them.
   * @throws ByreError TOO_LARGE, INVALID_ARGUMENT for what such a drive cannot take; what reading the files meets.
   */
  insertFiles(files: readonly File[], as: "cdrom" | "floppy" | "files"): Promise<void>;
  /** What the guest's screen is drawn into; whoever shows the machine puts it into the document. */
  readonly screenElement: HTMLElement;
  /** Of the guest; a loaded state brings its own. */
  readonly memoryMiB: number;

  pause(): Promise<void>;
  /** Goes on after `pause`, and after `suspend`. */
  resume(): Promise<void>;
  /** Boots the disk, with what is set; after `suspend` too: what was suspended is not gone on with. */
  reset(): Promise<void>;
  powerOff(): Promise<void>;
  /** After an I/O error: makes the failed requests again and goes on. */
  retry(): Promise<void>;
  flush(): Promise<void>;

  /**
   * Saves the running machine in its image, under a name; it stops only for a moment. A state of the same name
   * is replaced once the new one is complete.
   *
   * @throws ByreError CANCELLED, QUOTA_EXCEEDED, what writing meets; the image is as before then.
   */
  save(name: string, options?: WorkOptions & { readonly description?: string }): Promise<SavedState>;
  /**
   * Puts machine and disk back to a saved state; what they are now is gone.
   *
   * @param idOrName an id goes before a name; of several with one name the newest.
   * @throws ByreError SNAPSHOT_NOT_FOUND; STATE_INVALID, STATE_MISMATCH, UNSUPPORTED_VERSION for a state that
   *   cannot be loaded (`diskOnly` boots its disk); CANCELLED. The machine is as before then.
   */
  load(idOrName: string, options?: WorkOptions & { readonly diskOnly?: boolean }): Promise<void>;
  /** The saved states, oldest first. */
  snapshots(): SavedState[];
  /** @throws ByreError SNAPSHOT_NOT_FOUND, what reading meets. */
  describeSnapshot(idOrName: string): Promise<SnapshotDescription>;
  /** @throws ByreError SNAPSHOT_NOT_FOUND, INVALID_ARGUMENT, what writing meets. */
  editSnapshot(idOrName: string, change: SnapshotChange): Promise<void>;
  deleteSnapshot(idOrName: string): Promise<void>;
  /**
   * Makes a new machine of a saved state of this one, kept beside it; this one goes on.
   *
   * @returns the new machine's id: `#/machine/ID` goes on from the state.
   * @throws ByreError SNAPSHOT_NOT_FOUND, CANCELLED, QUOTA_EXCEEDED; nothing is kept then.
   */
  startFromSnapshot(idOrName: string, options?: WorkOptions): Promise<string>;
  /** Undefined where that can have no snapshots: a raw disk, a CD or a floppy. */
  readonly base: MachineBase | undefined;

  /**
   * Saves the machine and switches it off; whoever opens it next goes on from there.
   *
   * @throws ByreError UNSUPPORTED_FEATURE for a machine that is thrown away; as `save`: it runs on then.
   */
  suspend(options?: WorkOptions): Promise<void>;
  /** Whether it was switched off by `suspend`. */
  readonly suspended: boolean;
  /** How often the machine is saved by itself; 0 for never. Undefined for a machine that is thrown away. */
  readonly autosaveMinutes: AutosaveMinutes | undefined;
  /** @throws ByreError UNSUPPORTED_FEATURE for a machine that is thrown away; STORAGE. */
  setAutosaveMinutes(minutes: AutosaveMinutes): Promise<void>;
  /** What is being saved or loaded now. */
  readonly activity: SessionActivity | undefined;
  /** Whether anything is done with its saved states or its disk, shown or not, or waits for its turn. */
  readonly busy: boolean;
  /** Resolves once all of that which was asked for until now is over, whatever came of it. */
  settled(): Promise<void>;
  /** What went wrong meanwhile, oldest first; one that has passed is gone by itself. */
  readonly notices: readonly SessionNotice[];
  dismissNotice(id: string): void;

  /**
   * What the machine's image says of itself, and how much room it has for that.
   *
   * @throws ByreError METADATA_INVALID, UNSUPPORTED_VERSION: what is there cannot be read.
   */
  about(): ImageMetadata;
  /**
   * Puts this in its place; an export carries it.
   *
   * @throws ByreError METADATA_INVALID, METADATA_TOO_LARGE; what writing meets. The image is as before then.
   */
  setAbout(metadata: Metadata): Promise<void>;
  /** What the machine is set to, and what it runs with. */
  readonly settings: SettingsView;
  /**
   * What the person wants in the place of what the appliance has: the whole of it, what is left out is as the appliance
   * has it. The network changes at once, the rest with the next start or `reset`.
   *
   * @throws ByreError INVALID_ARGUMENT for what cannot be, STORAGE; nothing has changed then.
   */
  setSettings(chosen: MachineSettings): Promise<void>;
  /** The copying of its files into this browser; undefined where there is nothing to be copied when it is opened. */
  readonly copying: MachineImport | undefined;
  /** Whether what the appliance says when it first runs is still to be shown. */
  readonly greets: boolean;
  /** It was shown. */
  greeted(): void;

  stats(): SessionStats;
  /** How much of the files that come over HTTP was fetched. */
  fetched(): { readonly httpBytes: number; readonly totalBytes: number };
  /**
   * The machine's disk as a file, with what it says of itself. The guest stands still until it is written.
   *
   * @param options.flatten true: the whole disk, which needs no base. Default: the overlay alone.
   * @param options.compress with `flatten`. true: packed. false: unpacked. Default: as it is stored, which is fastest.
   * @param options.snapshots false leaves the saved states out. Default: true.
   * @throws ByreError INVALID_ARGUMENT, CANCELLED, QUOTA_EXCEEDED, what reading meets; FILE_CHANGED when the guest is
   *   let run meanwhile.
   */
  exportDisk(options?: ExportOptions): Promise<Blob>;
  /** As `exportDisk`, into a stream, which is closed at the end and aborted when this fails. */
  exportDiskTo(target: ExportTarget, options?: ExportOptions): Promise<void>;
  /** Calls back when something that can be read here changed: state, saved states, activity, notices. */
  onChange(listener: () => void): () => void;
  /**
   * Switches off, frees the emulator and lets go of the disk.
   *
   * @throws ByreError what kept the guest's writes from becoming durable; the machine is still there then,
   *   in state `error`. `powerOff` before it gives them up.
   */
  close(): Promise<void>;
}
