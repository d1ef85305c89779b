/**
 * The lower seam of the block layer: a *file* is where bytes are (memory, IndexedDB, HTTP, a Blob, Node).
 * A *device* (block-device.ts) is what a guest sees, opened over a file.
 *
 * The seam is made for one rule: await first, then change. Every change is a plain synchronous call that
 * cannot fail for want of data; whatever must be awaited is awaited before it with `load`. So a device
 * plans and applies an operation within one turn of the event loop, needs no locks, and any commit, however
 * timed, holds whole operations only.
 */

/**
 * What a write is to the image it belongs to. A file with transactions ignores it. A file without them
 * writes the stages of one flush in this order with a sync between, so that a crash at any point leaves
 * nothing worse than leaked clusters: what is pointed to is on disk before what points to it.
 */
export const WriteStage = {
  /** Guest data, and tables that nothing points to yet. */
  DATA: 0,
  /** Entries of refcount blocks, and new refcount blocks. */
  REFCOUNT_BLOCK: 1,
  /** Entries of the refcount table. */
  REFCOUNT_TABLE: 2,
  /** Entries of L2 tables. */
  L2: 3,
  /** Entries of the active L1 table. */
  L1: 4,
  /** The image header. */
  HEADER: 5,
} as const;
export type WriteStage = (typeof WriteStage)[keyof typeof WriteStage];

/** How many stages there are. */
export const WRITE_STAGES = 6;

export interface BlockFile {
  /** For messages: a file name, or the last part of a URL. */
  readonly name: string;
  /** Current length in bytes. */
  readonly sizeBytes: number;
  readonly writable: boolean;
  /** Whether `flush` makes everything since the last one durable at once or not at all. */
  readonly transactional: boolean;
  /** Bytes written and not yet durable. */
  readonly dirtyBytes: number;

  /**
   * Reads without waiting.
   *
   * @returns true when `target` was filled; false when some of the bytes are not in memory (`target` is
   *   then unspecified; call `load` or `read`).
   * @throws ByreError OUT_OF_RANGE when the range is not inside the file; CLOSED.
   */
  readNow(offsetBytes: number, target: Uint8Array): boolean;

  /**
   * Fills `target` with the bytes at `offsetBytes`. Never leaves zeros for what could not be read.
   *
   * @throws ByreError OUT_OF_RANGE, CLOSED, or what the back end met (NETWORK, FILE_CHANGED, STORAGE ...).
   */
  read(offsetBytes: number, target: Uint8Array): Promise<void>;

  /**
   * Brings into memory what `readNow` of this range needs, and what `write` of it needs. The bytes stay at
   * least until other loads push them out, oldest first (never the load's own bytes); so a caller checks again and loads again. Nothing
   * else pushes them out within a turn of the event loop: what could be read or written before a `write`
   * still can be after it.
   */
  load(offsetBytes: number, lengthBytes: number): Promise<void>;

  /** Whether `write` to this range can be made now; if not, `load` it first. */
  canWriteNow(offsetBytes: number, lengthBytes: number): boolean;

  /**
   * Writes into memory, at once; `flush` makes it durable. Past the end the file grows, and a gap reads as
   * zeros. `data` is copied before this returns.
   *
   * @param stage what the bytes are to the image; DATA when left out.
   * @throws ByreError READ_ONLY, CLOSED, or INVALID_ARGUMENT when `canWriteNow` is false.
   */
  write(offsetBytes: number, data: Uint8Array, stage?: WriteStage): void;

  /** Sets the length. Bytes past a new end are gone; a longer file reads zeros there. Durable with `flush`. */
  truncate(sizeBytes: number): void;

  /**
   * Says that nobody needs the bytes of a range any more: what of them is not durable need not become so. They
   * read as anything, of the length they had, until they are written again.
   *
   * @throws ByreError READ_ONLY, CLOSED.
   */
  forget(offsetBytes: number, lengthBytes: number): void;

  /**
   * Makes every write before this call durable.
   *
   * @throws ByreError QUOTA_EXCEEDED, STORAGE, ...; nothing written is lost from memory then, and a later
   *   flush tries everything again.
   */
  flush(): Promise<void>;

  /** Releases the file. Does not flush: what was not flushed is gone. Closing twice is allowed. */
  close(): Promise<void>;
}
