import type { BlockDevice, ByreError, ByreErrorCode, Qcow2Device, Qcow2Snapshot } from "../disk/index.ts";
import type {
  MachineMedia,
  MachineNetwork,
  MachineOutput,
  MachinePointer,
  MachineSound,
  NetworkChoice,
} from "./machine-devices.ts";
import type { StatePacker } from "./state-packer.ts";

/**
 * - `starting`: the emulator is being set up.
 * - `running`, `paused`: as the words say; a paused machine has nothing in flight and nothing unflushed.
 * - `stopped`: switched off, by the guest or by `powerOff`; every disk is flushed. `reset` switches it on again.
 * - `error`: stopped in mid-operation, `error` says why. After a failed disk request or flush `retry` goes on
 *   where it stopped; after a guest crash only `reset` or `powerOff` helps.
 */
export type MachineState = "starting" | "running" | "paused" | "stopped" | "error";

export interface MachineConfiguration {
  memoryMiB: number;
  vgaMemoryMiB: number;
  acpi: boolean;
  bootOrder: "disk" | "cdrom" | "floppy";
}

export const DEFAULT_CONFIGURATION: Readonly<MachineConfiguration> = {
  memoryMiB: 128,
  vgaMemoryMiB: 8,
  acpi: true,
  bootOrder: "disk",
};

export interface MachineDisks {
  /** First IDE disk. */
  hda?: BlockDevice;
  /** Second IDE disk; needs `hda`. */
  hdb?: BlockDevice;
  cdrom?: BlockDevice;
  /** Held in memory while it is in the drive; what the guest writes goes to the device with the next flush. */
  floppy?: BlockDevice;
  /**
   * A writable qcow2 image of any size, for saved states alone; the guest never sees it. It is used when neither
   * `hda` nor `hdb` is a qcow2 image that can be written.
   */
  state?: BlockDevice;
}

export interface MachineFirmware {
  bios: ArrayBuffer;
  vgaBios: ArrayBuffer;
}

/** A saved state to start from. */
export interface StartFrom {
  /**
   * The image that has it. One of the machine's own disks: they all go back to the state first, as `load` does
   * it. Another (the base behind an overlay): the disks are taken as they are, and whoever starts the machine has
   * made them what they were at that moment.
   */
  device: Qcow2Device;
  /** An id goes before a name. */
  snapshot: string;
  onProgress?: (done: LoadProgress) => void;
  signal?: AbortSignal;
}

/** How far the reading of a state is. Zeros are not stored and do not count. */
export interface LoadProgress {
  readonly loadedBytes: number;
  readonly totalBytes: number;
}

export interface MachineOptions {
  configuration?: Partial<MachineConfiguration>;
  /** Lent: the machine flushes them and never closes them. */
  disks: MachineDisks;
  firmware: MachineFirmware;
  /** The bytes of v86.wasm. */
  wasm: ArrayBuffer;
  /** Where the guest's screen goes (a canvas is added to it). Absent: headless, no sound. */
  screenElement?: HTMLElement;
  /** Starts from a saved state instead of booting. Its configuration goes before `configuration`. */
  startFrom?: StartFrom;
  /** Where the guest's network card leads at first. Default: nowhere. */
  network?: NetworkChoice;
  /** Packs and unpacks saved states; lent. Default: on this thread, a cluster a turn. */
  packer?: StatePacker;
}

export interface ResetOptions {
  /** What the machine is to be from now on; what is not named stays as it is. */
  configuration?: Partial<MachineConfiguration>;
}

export interface SaveOptions {
  /** At most 4096 characters. */
  description?: string;
  /** Told how much is written, 0 to 1. */
  onProgress?: (fraction: number) => void;
  /** Aborted: the save ends with CANCELLED, and the image is as before. */
  signal?: AbortSignal;
  /**
   * Leaves the machine switched off once it is saved: the guest does not go on after its memory was copied, and the
   * state is `stopped` when what was saved is durable. When the save fails the machine goes on as it was.
   */
  thenStop?: boolean;
}

export interface LoadOptions {
  onProgress?: (done: LoadProgress) => void;
  /** Aborted before anything has changed: the load ends with CANCELLED, and the machine is as before. */
  signal?: AbortSignal;
  /** Puts the disks back and boots them, without a look at the machine's state. */
  diskOnly?: boolean;
}

/** A saved state, as a list shows it. */
export interface SnapshotDescription {
  readonly id: string;
  readonly name: string;
  readonly savedAtMs: number;
  /** What the person wrote of it; may be empty. Text, never markup. */
  readonly description: string;
  readonly thumbnail?: Thumbnail;
  /** Whether it has a machine's state, and not a disk alone. */
  readonly hasState: boolean;
  /** Why its state cannot be loaded (its disk can still be booted): STATE_INVALID, STATE_MISMATCH, UNSUPPORTED_VERSION. */
  readonly problem?: { readonly code: ByreErrorCode; readonly message: string };
  readonly configuration?: MachineConfiguration;
  /** Bytes that deleting it frees, and bytes it shares with other states or the disk. */
  readonly ownBytes: number;
  readonly sharedBytes: number;
}

/** A small picture of the screen. */
export interface Thumbnail {
  readonly type: "image/png" | "image/webp" | "image/jpeg";
  readonly bytes: Uint8Array<ArrayBuffer>;
}

export interface SnapshotChange {
  name?: string;
  description?: string;
}

export interface MachineError {
  readonly code: ByreErrorCode;
  readonly message: string;
  readonly cause?: ByreError;
}

/** Counted since the machine started; bytes are those the guest's IDE requests moved. */
export interface MachineStats {
  readonly bytesRead: number;
  readonly bytesWritten: number;
  /** Reads, writes and flushes. */
  readonly requests: number;
  /** Requests that completed in the call that made them. */
  readonly cacheHits: number;
  /** Flushes the guest asked for. */
  readonly flushes: number;
  /** Bytes written by the guest that are not durable yet. */
  readonly dirtyBytes: number;
  /** Of the frames that the guest's network card has taken and sent. */
  readonly networkBytesIn: number;
  readonly networkBytesOut: number;
}

export interface MachineSerial {
  /** Types `text` (as UTF-8) into the first serial port, no faster than the guest takes it. */
  send(text: string): void;
  /** All output so far, decoded as UTF-8; at most the last 1 MiB of it. */
  text(): string;
  /** Calls back with new output, once for all that came in one turn of the event loop. */
  onOutput(listener: (text: string) => void): () => void;
  /**
   * Calls back when a saved state has replaced the text: with the end of what the guest had printed when it was
   * saved. A terminal clears itself and writes it.
   */
  onReset(listener: (text: string) => void): () => void;
}

export interface MachineScreen {
  /** The text on screen, a line a row, without trailing blanks; empty in a graphics mode. */
  text(): string;
  /** A PNG of the screen. Rejects with UNSUPPORTED_FEATURE when headless. */
  screenshot(): Promise<Blob>;
  /** CSS pixels a guest pixel; 1 at first. */
  setScale(scale: number): void;
}

export interface MachineKeyboard {
  /** Whether keys pressed in the page reach the guest's keyboard. Off at first. */
  setEnabled(enabled: boolean): void;
  /** Types on a US keyboard, a key at a time; resolves when the last was sent. */
  sendText(text: string): Promise<void>;
  /** Sends PS/2 set-1 scan codes, a byte each. */
  sendScancodes(codes: readonly number[]): Promise<void>;
}

export interface Machine {
  readonly state: MachineState;
  readonly error: MachineError | undefined;
  readonly serial: MachineSerial;
  readonly screen: MachineScreen;
  readonly keyboard: MachineKeyboard;
  readonly pointer: MachinePointer;
  readonly sound: MachineSound;
  readonly output: MachineOutput;
  readonly media: MachineMedia;
  readonly network: MachineNetwork;
  /** A load may change it: a saved state brings its own. */
  readonly configuration: Readonly<MachineConfiguration>;

  /**
   * Stops the guest, waits for its disk requests and flushes. Rejects (state `error`) when that fails.
   *
   * @throws ByreError CANCELLED when a reset or power-off comes while a request is waited for.
   */
  pause(): Promise<void>;
  /** Goes on after `pause`. */
  resume(): Promise<void>;
  /**
   * Presses the reset button, in every state but `starting`. Disk requests in flight are forgotten; a pause, save, load
   * or retry that waits for them ends with CANCELLED.
   *
   * @throws ByreError INVALID_ARGUMENT for a configuration outside its bounds; the machine is as before then.
   */
  reset(options?: ResetOptions): Promise<void>;
  /**
   * Pulls the plug, once what the guest has written is flushed. Reads in flight are forgotten, as by a reset. When the flush fails the machine is in state
   * `error` and `retry` tries again; `powerOff` in state `error` tries once more and then stops whatever
   * happens.
   *
   * @throws ByreError saying what could not be flushed.
   */
  powerOff(): Promise<void>;
  /**
   * In state `error`: makes the failed requests again and goes on when they succeed.
   *
   * @throws ByreError the failure of this try (state `error` again); INVALID_ARGUMENT after a guest crash.
   */
  retry(): Promise<void>;
  /**
   * Saves the whole machine under a name, inside the image of its first writable qcow2 disk. The guest stops
   * only while its memory is copied; it runs on while the state is written. Several saves are done in turn. A
   * state of the same name is replaced once the new one is complete.
   *
   * @throws ByreError UNSUPPORTED_FEATURE without such a disk; CANCELLED; what writing meets: the image is as
   *   before. A plain file may have the new state instead, which becomes durable with a later flush.
   */
  save(name: string, options?: SaveOptions): Promise<Qcow2Snapshot>;
  /**
   * Puts the machine and its disks back to a saved state; what they are now is gone. The state brings its own
   * configuration. A snapshot without a machine's state puts the disks back and boots them.
   *
   * @param idOrName an id goes before a name.
   * @throws ByreError SNAPSHOT_NOT_FOUND, STATE_INVALID, UNSUPPORTED_VERSION, STATE_MISMATCH (another emulator),
   *   CANCELLED, what reading meets: the machine is as before then. Only where the emulator refuses a state that was
   *   read whole is the guest lost, in state `error`; the disks are as before then too if the state has no fingerprints.
   */
  load(idOrName: string, options?: LoadOptions): Promise<void>;
  /** The saved states, oldest first. */
  snapshots(): readonly Qcow2Snapshot[];
  /** What is known of a saved state. Throws SNAPSHOT_NOT_FOUND, and what reading meets. */
  describeSnapshot(idOrName: string): Promise<SnapshotDescription>;
  /**
   * Changes name or description of a saved state.
   *
   * @throws ByreError SNAPSHOT_NOT_FOUND; INVALID_ARGUMENT for a name that another has, or a description for a
   *   snapshot without a state; what writing meets.
   */
  editSnapshot(idOrName: string, change: SnapshotChange): Promise<void>;
  /** Drops a saved state. Throws SNAPSHOT_NOT_FOUND. */
  deleteSnapshot(idOrName: string): Promise<void>;
  /** Makes durable what the guest has written so far, without stopping it. */
  flush(): Promise<void>;
  stats(): MachineStats;
  /** Calls back when `state` or `error` changed. */
  onChange(listener: () => void): () => void;
  /** Stops without flushing and frees the emulator. The devices stay open. Closing twice is allowed. */
  close(): Promise<void>;
}
