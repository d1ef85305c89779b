import { type BlockDevice, ByreError, toByreError } from "../disk/index.ts";

const SECTOR_BYTES = 512;

/** v86 computes with 32 bits of a 48-bit sector number. */
const MAX_DISK_BYTES = 2 ** 32 * SECTOR_BYTES;

/**
 * Past this many bytes not yet durable a write completes only after a flush, so that a guest that writes
 * faster than the storage takes cannot fill the memory. Twice the largest request Linux makes of an LBA48
 * disk (16 MiB would hold only one); at the 75-120 MB/s of a batched IndexedDB commit a wait of under 0.5 s.
 */
const MAX_DIRTY_BYTES = 32 * 1024 * 1024;

/** Kept for reads that hit; a longer one gets memory of its own. Linux reads 128 KiB ahead by default. */
const SCRATCH_BYTES = 256 * 1024;

/** What an `IdeDisk` tells the machine. */
export interface IdeDiskEvents {
  /** A request failed; it is kept, the guest still waits for it. */
  onFailure(error: ByreError): void;
  /** Code of the emulator threw while it took a result. */
  onCrash(error: unknown): void;
}

export interface IdeDiskStats {
  bytesRead: number;
  bytesWritten: number;
  requests: number;
  cacheHits: number;
  flushes: number;
}

interface Request {
  /** Changes the disk: once begun it is made, whoever waits for it. */
  readonly writes: boolean;
  /** Does what is left of the work; after a failure it is called again. */
  run(): Promise<void>;
  /** Tells the guest. */
  complete(): void;
  cancelled: boolean;
}

/**
 * A block device in the shape v86 wants of a disk.
 *
 * A request that can complete at once does so in the call; any other is queued, and requests run strictly one
 * after the other. v86 has at most one live request a drive (ide-overrides.ts sees to that for PIO writes), so
 * the queue is longer than one only after a reset, when a new request must wait for what an old one still does:
 * a read sees every write before it, and an old write never lands on a new one.
 *
 * A read or flush that a reset has cancelled is left to itself, since it may never end; only a write is waited for.
 *
 * A failed request stays at the head of the queue: the guest waits, as for a slow disk, until `retry` succeeds
 * or a reset cancels it. There is no way for it to see a wrong byte.
 *
 * It is a class, not a plain object, because v86 logs plain objects when it saves state.
 */
export class IdeDisk {
  byteLength: number;
  /** Set by v86. */
  onload: ((event: object) => void) | undefined = undefined;
  readonly stats: IdeDiskStats = { bytesRead: 0, bytesWritten: 0, requests: 0, cacheHits: 0, flushes: 0 };
  /** Whether a write may complete before it is durable; the guest can switch it off (SET FEATURES 82h). */
  writeCache = true;
  failure: ByreError | undefined = undefined;
  /** A CD's: called when the guest has ejected it. */
  guestEjected: (() => void) | undefined = undefined;
  /** Whether the saved state loaded last had this disk in the drive. Undefined: it does not say. */
  savedAs: "this" | "other" | undefined = undefined;

  private holding = false;
  private queue: Request[] = [];
  /** The device is at work on these, some of them cancelled. */
  private readonly runs = new Set<Promise<void>>();
  private draining = false;
  private idleWaiters: (() => void)[] = [];
  private readonly scratch = new Uint8Array(SCRATCH_BYTES);

  private constructor(
    readonly device: BlockDevice,
    private readonly firstSector: Uint8Array,
    private readonly events: IdeDiskEvents,
  ) {
    this.byteLength = wholeSectors(device);
  }

  /**
   * Reads the first sector, from which v86 guesses the drive's geometry while it is set up.
   *
   * @throws ByreError TOO_LARGE past 2 TiB, INVALID_ARGUMENT under one sector, or what the read met.
   */
  static async open(device: BlockDevice, events: IdeDiskEvents): Promise<IdeDisk> {
    const { name, sizeBytes } = device;
    if (sizeBytes > MAX_DISK_BYTES)
      throw new ByreError(
        "TOO_LARGE",
        `${name}: a disk of ${sizeBytes} bytes is more than the 2 TiB a machine can use.`,
        {
          file: name,
          sizeBytes,
        },
      );
    if (sizeBytes < SECTOR_BYTES)
      throw new ByreError(
        "INVALID_ARGUMENT",
        `${name}: ${sizeBytes} bytes are less than one sector of a disk.`,
        {
          file: name,
          sizeBytes,
        },
      );
    const firstSector = new Uint8Array(SECTOR_BYTES);
    await device.read(0, firstSector);
    return new IdeDisk(device, firstSector, events);
  }

  /** The device was put back to a snapshot: its size and first sector may be others. */
  async refresh(): Promise<void> {
    await this.device.read(0, this.firstSector);
    this.byteLength = wholeSectors(this.device);
  }

  /**
   * Lets the guest stand still until what it has just asked for is there: for a CD read by PIO, since the drivers
   * of old guests do not wait as long as a file or a network may take.
   */
  holdGuest(): void {
    this.holding = true;
  }

  get holdsGuest(): boolean {
    return this.holding && !this.failure && this.queue.some(({ cancelled }) => !cancelled);
  }

  /** Whether a request is queued or running. A failed one counts. */
  get busy(): boolean {
    return this.queue.length > 0;
  }

  load(): void {
    this.onload?.({});
  }

  get(startBytes: number, lengthBytes: number, callback: (data: Uint8Array) => void): void {
    this.stats.requests++;
    this.stats.bytesRead += lengthBytes;
    let target: Uint8Array | undefined;
    if (!this.busy) {
      // v86 copies the bytes before it returns, so that the scratch memory serves the next read too.
      const scratch =
        lengthBytes <= SCRATCH_BYTES ? this.scratch.subarray(0, lengthBytes) : new Uint8Array(lengthBytes);
      try {
        if (this.device.readNow(startBytes, scratch)) target = scratch;
      } catch {
        // The queued read meets the same error, and keeps it for a retry.
      }
    }
    if (target) {
      this.stats.cacheHits++;
      callback(target);
      return;
    }
    const data = new Uint8Array(lengthBytes);
    this.submit(
      false,
      () => this.device.read(startBytes, data),
      () => callback(data),
    );
  }

  get_and_cache(startBytes: number, lengthBytes: number, callback: (data: Uint8Array) => void): void {
    this.get(startBytes, lengthBytes, callback);
  }

  /** v86 asks this only for the partition table, while it is set up. */
  get_from_cache(startBytes: number, lengthBytes: number): Uint8Array | undefined {
    if (startBytes + lengthBytes > SECTOR_BYTES) return undefined;
    return this.firstSector.slice(startBytes, startBytes + lengthBytes);
  }

  /** @param data may be a view of memory that the guest changes as soon as this returns. */
  set(startBytes: number, data: Uint8Array, callback: () => void): void {
    this.stats.requests++;
    this.stats.bytesWritten += data.length;
    let written = false;
    if (!this.busy) {
      try {
        written = this.device.writeNow(startBytes, data);
      } catch {
        // Nothing was changed; the queued write meets the same error, and keeps it for a retry.
      }
    }
    if (written && !this.mustFlushWrites) {
      this.stats.cacheHits++;
      callback();
      return;
    }
    const copy = written ? undefined : data.slice();
    const write = async () => {
      if (copy && !written) await this.device.write(startBytes, copy);
      written = true;
      if (this.mustFlushWrites) await this.device.flush();
    };
    this.submit(true, write, callback);
  }

  /** The guest's FLUSH CACHE: `callback` when all it has written is durable. */
  flush(callback: () => void): void {
    this.stats.requests++;
    this.stats.flushes++;
    this.submit(false, () => this.device.flush(), callback);
  }

  /** Makes the failed request again. Resolves when the queue is empty or failed again (see `failure`). */
  async retry(): Promise<void> {
    this.failure = undefined;
    void this.drain();
    await this.settled();
  }

  /** Resolves when no request is in flight: none is queued, or one has failed. */
  settled(): Promise<void> {
    if (!this.busy || this.failure) return Promise.resolve();
    return new Promise((resolve) => this.idleWaiters.push(resolve));
  }

  /** Resolves when the device's work on what it was asked for is over, cancelled or not: it can be closed then. */
  async released(): Promise<void> {
    await Promise.allSettled(this.runs);
  }

  /** The drive was reset: nobody waits for what is queued. A write that has begun is still made. */
  cancel(): void {
    const begun = this.draining && this.queue[0]?.writes ? this.queue[0] : undefined;
    if (begun) begun.cancelled = true;
    this.keepOnly((request) => request === begun);
  }

  /** The guest is switched off: nobody waits for a read or flush. What it was writing is still made, or fails. */
  cancelReads(): void {
    this.keepOnly(({ writes }) => writes);
  }

  get_buffer(callback: (buffer: undefined) => void): void {
    callback(undefined);
  }

  /** The disk's bytes are saved on their own, never inside the state of the machine. */
  get_state(): unknown[] {
    return [this.writeCache, this.device.name, this.device.sizeBytes];
  }

  /** @param state null: it was saved without such a drive, or with nothing in it. */
  set_state(state: readonly unknown[] | null): void {
    this.writeCache = state?.[0] !== false;
    const [, name, sizeBytes] = state ?? [];
    // States of older programs have no name.
    if (state && name === undefined) this.savedAs = undefined;
    else this.savedAs = name === this.device.name && sizeBytes === this.device.sizeBytes ? "this" : "other";
  }

  private get mustFlushWrites(): boolean {
    return !this.writeCache || this.device.dirtyBytes > MAX_DIRTY_BYTES;
  }

  private submit(writes: boolean, run: () => Promise<void>, complete: () => void): void {
    this.queue.push({ writes, run, complete, cancelled: false });
    void this.drain();
  }

  private keepOnly(isKept: (request: Request) => boolean): void {
    const [first] = this.queue;
    this.queue = this.queue.filter(isKept);
    this.holding = false;
    if (this.queue[0] === first) return;
    this.draining = false;
    this.failure = undefined;
    if (this.busy) void this.drain();
    else this.wakeSettled();
  }

  private async drain(): Promise<void> {
    if (this.draining || this.failure) return;
    this.draining = true;
    for (let request = this.queue[0]; request; request = this.queue[0]) {
      try {
        const run = request.run();
        this.runs.add(run);
        await run.finally(() => this.runs.delete(run));
      } catch (error) {
        if (this.queue[0] === request && !request.cancelled) {
          this.draining = false;
          this.failure = toByreError(error);
          this.wakeSettled();
          this.events.onFailure(this.failure);
          return;
        }
      }
      // It was cancelled, and the queue goes on without it.
      if (this.queue[0] !== request) return;
      this.queue.shift();
      if (this.queue.length === 0) this.holding = false;
      if (!request.cancelled) this.complete(request);
    }
    this.draining = false;
    this.wakeSettled();
  }

  private complete(request: Request): void {
    try {
      request.complete();
    } catch (error) {
      this.events.onCrash(error);
    }
  }

  private wakeSettled(): void {
    const waiters = this.idleWaiters;
    this.idleWaiters = [];
    for (const wake of waiters) wake();
  }
}

function wholeSectors({ sizeBytes }: BlockDevice): number {
  return sizeBytes - (sizeBytes % SECTOR_BYTES);
}
