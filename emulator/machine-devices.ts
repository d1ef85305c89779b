import type { BlockDevice } from "../disk/index.ts";

/** What is in a removable drive. */
export interface Medium {
  readonly name: string;
  readonly sizeBytes: number;
  /** Whether what the guest writes to it is kept. */
  readonly writable: boolean;
}

export interface InsertOptions {
  /**
   * Called once, when the machine no longer uses the device: a person or the guest has ejected it, another took its
   * place, or the machine was closed. Who lent it can close it then.
   */
  readonly onEjected?: () => void;
}

/** The removable drives. A machine always has them, also when it began without a disk in them. */
export interface MachineMedia {
  readonly cdrom: Medium | undefined;
  readonly floppy: Medium | undefined;
  /**
   * Puts a CD into the drive, in the place of the one that is there.
   *
   * @throws ByreError INVALID_ARGUMENT for an empty one, TOO_LARGE past 2 TiB, what reading it meets; what was in the drive is still
   *   there then.
   */
  insertCdrom(device: BlockDevice, options?: InsertOptions): Promise<void>;
  ejectCdrom(): Promise<void>;
  /**
   * Puts a floppy disk into the drive, in the place of the one that is there, which is flushed first.
   *
   * @throws ByreError TOO_LARGE when it is no floppy's, INVALID_ARGUMENT for an empty one, what reading it or flushing
   *   the one before meets; that is still in the drive then.
   */
  insertFloppy(device: BlockDevice, options?: InsertOptions): Promise<void>;
  /** @throws ByreError when what the guest has written cannot be stored; the floppy stays in the drive. */
  ejectFloppy(): Promise<void>;
  /** Calls back when what is in a drive has changed. */
  onChange(listener: () => void): () => void;
}

/**
 * Where the guest's network card leads.
 *
 * - `fetch`: a small network of the page's own, in which HTTP requests to port 80 are made by the browser.
 * - `relay`: a server that passes on what the card sends. `ws://`, `wss://`: Ethernet frames, one a message.
 *   `wisp://`, `wisps://`: TCP connections by the Wisp protocol, over a WebSocket.
 */
export type NetworkChoice =
  | { readonly kind: "off" }
  | { readonly kind: "fetch" }
  | { readonly kind: "relay"; readonly url: string };

/**
 * - `connecting`: the relay has not answered yet.
 * - `failed`: the relay cannot be reached, or the connection to it has ended; it is tried again by itself.
 */
export type NetworkState = "off" | "connecting" | "on" | "failed";

export interface MachineNetwork {
  readonly choice: NetworkChoice;
  readonly state: NetworkState;
  /** In state `failed`: why, in words. */
  readonly problem: string | undefined;
  /**
   * Plugs the card in elsewhere, while the guest runs. Resolves at once; `state` tells whether a relay answers.
   *
   * @throws ByreError INVALID_ARGUMENT for a relay that is no address of one.
   */
  set(choice: NetworkChoice): Promise<void>;
  onChange(listener: () => void): () => void;
}

/** What the guest plays. A machine without a screen element is silent. */
export interface MachineSound {
  readonly muted: boolean;
  /** 0 to 1. */
  readonly volume: number;
  setMuted(muted: boolean): void;
  setVolume(volume: number): void;
  /** To be called when a person has clicked or pressed a key: browsers keep a page silent until then. */
  resume(): Promise<void>;
  onChange(listener: () => void): () => void;
}

/** The mouse of the page, as the guest's. */
export interface MachinePointer {
  /** Whether the mouse over the screen reaches the guest. Off at first. */
  setEnabled(enabled: boolean): void;
  /**
   * Asks the browser to lock the pointer to the screen; Escape lets go. To be called when a person has clicked.
   *
   * @throws ByreError UNSUPPORTED_FEATURE when headless, or when the browser does not.
   */
  lock(): Promise<void>;
  readonly locked: boolean;
  /** Whether the guest's driver takes positions, so that its pointer is where the page's is: no lock is needed then. */
  readonly absolute: boolean;
  /** Whether the guest listens to its mouse. */
  readonly listening: boolean;
  /** Calls back when `locked`, `absolute` or `listening` has changed. */
  onChange(listener: () => void): () => void;
}

/** What the guest writes to its second serial port (ttyS1, COM2): the way out for files. */
export interface MachineOutput {
  /** Bytes kept: the first 64 MiB since the beginning or the last `clear`. */
  readonly sizeBytes: number;
  /** Bytes that came after and were not kept. */
  readonly droppedBytes: number;
  /** A copy of what is kept. */
  bytes(): Uint8Array<ArrayBuffer>;
  clear(): void;
  /** Calls back once for all that came in one turn of the event loop, and after `clear`. */
  onOutput(listener: () => void): () => void;
}
