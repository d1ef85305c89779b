/**
 * The upper seam of the block layer: a *device* is what a guest sees, a flat range of bytes, whatever
 * image format lies below it.
 */

/** What a device's own layer says of a run of guest bytes. The words are QEMU's block status. */
export interface BlockStatus {
  /** Bytes, from the offset asked on, that share this status; at least 1, within the range asked. */
  readonly lengthBytes: number;
  /** This layer says what the bytes are. If not, they are the backing device's, or zeros without one. */
  readonly allocated: boolean;
  /** They read as zeros, on this layer's word alone. */
  readonly zero: boolean;
  /** Bytes are stored here for them. */
  readonly data: boolean;
  readonly compressed: boolean;
  /** Where the plain bytes stand in this layer's file; undefined when there are none, or packed or encrypted. */
  readonly hostOffsetBytes: number | undefined;
}

export interface WriteZeroesOptions {
  /** Lets go of the room the bytes took. Default: it is kept in reserve, where the format can. */
  unmap?: boolean;
}

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
   * Makes a range read as zeros, without writing them where the format can say so.
   *
   * @throws ByreError as `write`.
   */
  writeZeroes(offsetBytes: number, lengthBytes: number, options?: WriteZeroesOptions): Promise<void>;

  /**
   * Lets go of the room of a range. What is wholly inside reads as zeros then, where that can be said without
   * writing; the rest (parts of clusters at the ends, version 2 images over a backing file) stays as it is.
   *
   * @throws ByreError as `write`.
   */
  discard(offsetBytes: number, lengthBytes: number): Promise<void>;

  /**
   * How the first bytes of a range are stored, and how many of them alike.
   *
   * @param lengthBytes at least 1.
   * @throws ByreError as `read`.
   */
  blockStatus(offsetBytes: number, lengthBytes: number): Promise<BlockStatus>;

  /**
   * Makes every write that completed before this call durable.
   *
   * @throws ByreError what the file met (QUOTA_EXCEEDED ...); nothing is lost, a later flush tries again.
   */
  flush(): Promise<void>;

  /** Flushes when writable, then closes what the device opened: its backing, then its file. */
  close(): Promise<void>;
}
