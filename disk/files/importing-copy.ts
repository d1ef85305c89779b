import type { BlockFile } from "../block-file.ts";
import { type ByreError, toByreError } from "../errors.ts";
import { isAllZero } from "../zero-bytes.ts";
import { BLOCK_BYTES } from "./indexeddb-blocks.ts";
import type { CommittingFile } from "./indexeddb-committing-file.ts";

/**
 * copying, or paused; failed: it does not go on by itself, `resume` tries again; copied: the copy is whole;
 * cancelled: there is none.
 */
export type ImportState = "copying" | "paused" | "failed" | "copied" | "cancelled";

/** How far a copy has come. */
export interface ImportProgress {
  readonly state: ImportState;
  /** Stored for good: after a reload, the copying goes on here. */
  readonly copiedBytes: number;
  readonly totalBytes: number;
  /** Why it has failed. */
  readonly error: ByreError | undefined;
}

/**
 * Copies a file into an IndexedDB file, from its first byte to its last. The length of the file in IndexedDB is
 * how far the copy has come; the transaction that stores a piece stores that length too.
 */
export class ImportCopy {
  copiedBytes: number;
  private state: ImportState;
  private error: ByreError | undefined;
  /** The copying under way; it ends after its piece when the state is no longer "copying". */
  private running: Promise<void> | undefined;
  private closed = false;

  /**
   * @param source is only read here.
   * @param target commits only when told to.
   * @param pieceBytes a multiple of the block size.
   */
  constructor(
    private readonly source: BlockFile,
    private readonly target: CommittingFile,
    private readonly pieceBytes: number,
    private readonly onChange: () => void,
  ) {
    this.copiedBytes = target.sizeBytes;
    this.state = this.copiedBytes < source.sizeBytes ? "paused" : "copied";
  }

  get progress(): ImportProgress {
    const { state, copiedBytes, error } = this;
    return { state, copiedBytes, totalBytes: this.source.sizeBytes, error };
  }

  resume(): void {
    if (this.closed || (this.state !== "paused" && this.state !== "failed")) return;
    this.set("copying");
    this.running ??= this.run();
  }

  pause(): void {
    if (this.state === "copying") this.set("paused");
  }

  /** @returns whether it was cancelled; a whole copy is not. Waits for the piece under way. */
  async cancel(): Promise<boolean> {
    if (this.state === "copied" || this.state === "cancelled") return false;
    this.copiedBytes = 0;
    this.set("cancelled");
    await this.running;
    return true;
  }

  /** Waits for the piece under way. */
  async close(): Promise<void> {
    this.closed = true;
    await this.running;
  }

  private async run(): Promise<void> {
    // A listener may pause at once; `running` is this promise by then.
    await Promise.resolve();
    while (this.goesOn) {
      try {
        await this.copyPiece();
      } catch (error) {
        if (!this.closed && this.state !== "cancelled") this.set("failed", toByreError(error));
      }
    }
    this.running = undefined;
  }

  private get goesOn(): boolean {
    return this.state === "copying" && !this.closed;
  }

  private async copyPiece(): Promise<void> {
    const start = this.copiedBytes;
    const end = Math.min(start + this.pieceBytes, this.source.sizeBytes);
    const piece = new Uint8Array(end - start);
    await this.source.read(start, piece);
    if (!this.goesOn) return;
    // Zeros are holes: they take no storage.
    for (let at = 0; at < piece.length; at += BLOCK_BYTES) {
      const block = piece.subarray(at, at + BLOCK_BYTES);
      if (!isAllZero(block)) this.target.write(start + at, block);
    }
    if (this.target.sizeBytes < end) this.target.truncate(end);
    if (end === this.source.sizeBytes) this.target.finishImport();
    await this.target.flush();
    if (this.state === "cancelled") return;
    this.copiedBytes = end;
    this.set(end === this.source.sizeBytes ? "copied" : this.state);
  }

  private set(state: ImportState, error?: ByreError): void {
    this.state = state;
    this.error = error;
    this.onChange();
  }
}
