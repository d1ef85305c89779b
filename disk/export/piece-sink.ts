/** Where an export goes: pieces in order, each given away. */
export type ExportSink = WritableStream<Uint8Array> | ((piece: Uint8Array<ArrayBuffer>) => Promise<void>);

/** Large enough for full speed wherever it goes; all that is held back of an export. */
const PIECE_BYTES = 1024 * 1024;

/** Gathers bytes into pieces. */
export class PieceSink {
  writtenBytes = 0;
  private piece = new Uint8Array(PIECE_BYTES);
  private filled = 0;
  private readonly writer: WritableStreamDefaultWriter<Uint8Array> | undefined;
  private readonly put: (piece: Uint8Array<ArrayBuffer>) => Promise<void>;

  constructor(sink: ExportSink) {
    const writer = typeof sink === "function" ? undefined : sink.getWriter();
    this.writer = writer;
    this.put = typeof sink === "function" ? sink : async (piece) => writer?.write(piece);
  }

  async write(bytes: Uint8Array): Promise<void> {
    for (let done = 0; done < bytes.length; ) {
      const part = bytes.subarray(done, done + PIECE_BYTES - this.filled);
      this.piece.set(part, this.filled);
      done += part.length;
      await this.advance(part.length);
    }
  }

  /** Zeros up to an offset of the whole. */
  async padTo(offsetBytes: number): Promise<void> {
    while (this.writtenBytes < offsetBytes)
      await this.advance(Math.min(offsetBytes - this.writtenBytes, PIECE_BYTES - this.filled));
  }

  async end(): Promise<void> {
    if (this.filled > 0) await this.put(this.piece.slice(0, this.filled));
    await this.writer?.close();
  }

  /** Tells the stream that nothing more comes; what it makes of what it has is its own. */
  async abort(reason: unknown): Promise<void> {
    await this.writer?.abort(reason);
  }

  private async advance(lengthBytes: number): Promise<void> {
    this.filled += lengthBytes;
    this.writtenBytes += lengthBytes;
    if (this.filled < PIECE_BYTES) return;
    const { piece } = this;
    this.piece = new Uint8Array(PIECE_BYTES);
    this.filled = 0;
    await this.put(piece);
  }
}
