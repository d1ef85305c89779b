/** Cuts a stream of pieces of any length into chunks of one length; the last may be shorter. */
export class ChunkAssembler {
  private readonly done: Uint8Array[] = [];
  private current: Uint8Array<ArrayBuffer> | undefined;
  private filled = 0;

  /** Bytes taken so far. */
  lengthBytes = 0;

  /** @param completed gets each full chunk; without it, they gather for `finish`. */
  constructor(
    private readonly chunkBytes: number,
    private readonly completed: (chunk: Uint8Array) => void = (chunk) => this.done.push(chunk),
  ) {}

  take(piece: Uint8Array): void {
    let taken = 0;
    while (taken < piece.length) {
      this.current ??= new Uint8Array(this.chunkBytes);
      const length = Math.min(piece.length - taken, this.chunkBytes - this.filled);
      this.current.set(piece.subarray(taken, taken + length), this.filled);
      this.filled += length;
      taken += length;
      if (this.filled === this.chunkBytes) this.complete(this.current);
    }
    this.lengthBytes += piece.length;
  }

  /** Completes the last, shorter chunk, and gives what has gathered. */
  finish(): Uint8Array[] {
    if (this.current) this.complete(this.current.slice(0, this.filled));
    return this.done;
  }

  private complete(chunk: Uint8Array): void {
    this.current = undefined;
    this.filled = 0;
    this.completed(chunk);
  }
}
