/**
 * The upper seam of the block layer: a *device* is what a guest sees, a flat range of bytes, whatever
 * image format lies below it.
 */
export interface BlockDevice {
  /** For messages: the name of the file it was opened over. */
  readonly name: string;
  /** Virtual size in bytes. */
  readonly sizeBytes: number;
  readonly writable: boolean;
  /** Bytes written and not yet durable. */
  readonly dirtyBytes: number;

  /**
   * Reads without waiting, when tables and data are in memory.
   *
   * @returns true when `target` was filled; false when `read` must be awaited (`target` is unspecified).
   * @throws ByreError OUT_OF_RANGE, CLOSED, CORRUPT.
   */
  readNow(offsetBytes: number, target: Uint8Array): boolean;

  /**
   * Fills `target` with the guest's bytes at `offsetBytes`.
   *
   * @throws ByreError OUT_OF_RANGE, CLOSED, CORRUPT, or what the file below met. Never zeros instead.
   */
  read(offsetBytes: number, target: Uint8Array): Promise<void>;

  /**
   * Writes without waiting, when all that the write touches is in memory. `data` is copied.
   *
   * @returns true when the write has been made; false when `write` of the same data must be awaited (a first
   *   part of it may have been made).
   * @throws ByreError OUT_OF_RANGE, READ_ONLY, CLOSED; CORRUPT, and then too a first part may have been made.
   */
  writeNow(offsetBytes: number, data: Uint8Array): boolean;

  /**
   * Writes the guest's bytes. Done when it resolves, durable after `flush`. `data` must not change before.
   *
   * @throws ByreError as `writeNow`, and what the file below met. A write over several clusters is made in
   *   parts, each wholly or not at all; writing the same data again completes it.
   */
  write(offsetBytes: number, data: Uint8Array): Promise<void>;

  /**
   * Makes every write that completed before this call durable.
   *
   * @throws ByreError what the file met (QUOTA_EXCEEDED ...); nothing is lost, a later flush tries again.
   */
  flush(): Promise<void>;

  /** Flushes when writable, then closes what the device opened: its backing, then its file. */
  close(): Promise<void>;
}
