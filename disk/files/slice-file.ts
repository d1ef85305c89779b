import type { BlockFile, WriteStage } from "../block-file.ts";
import { ByreError } from "../errors.ts";
import { checkRange } from "../ranges.ts";

export interface SliceFileOptions {
  /** Where the slice begins in the file, in bytes. */
  offsetBytes: number;
  /**
   * Its length in bytes, fixed. Left out: everything from the offset on, which grows and shrinks with the
   * file (as QEMU's raw driver has it with an offset and no size).
   */
  sizeBytes?: number;
  /** For messages. Default: the file's name with the offset. */
  name?: string;
}

/**
 * A part of another file, as a file: a raw disk at an offset, a member of an archive. Reads and writes go
 * through in place.
 *
 * @param file owned by the slice from now on: closed with it.
 * @throws ByreError OUT_OF_RANGE when the slice is not inside the file. A slice of fixed length throws
 *   FIXED_SIZE from `canWriteNow`, `load`, `write` and `truncate` past its end: before an operation begins,
 *   not in its middle.
 */
export function createSliceFile(file: BlockFile, options: SliceFileOptions): BlockFile {
  return new SliceFile(file, options);
}

class SliceFile implements BlockFile {
  readonly name: string;
  private readonly offsetBytes: number;
  private readonly fixedBytes: number | undefined;
  private closed = false;

  constructor(
    private readonly file: BlockFile,
    { offsetBytes, sizeBytes, name }: SliceFileOptions,
  ) {
    checkRange(file.name, file.sizeBytes, offsetBytes, sizeBytes ?? 0);
    this.name = name ?? `${file.name} at ${offsetBytes}`;
    this.offsetBytes = offsetBytes;
    this.fixedBytes = sizeBytes;
  }

  get sizeBytes(): number {
    return this.fixedBytes ?? this.file.sizeBytes - this.offsetBytes;
  }

  get writable(): boolean {
    return this.file.writable;
  }

  get transactional(): boolean {
    return this.file.transactional;
  }

  get dirtyBytes(): number {
    return this.file.dirtyBytes;
  }

  readNow(offsetBytes: number, target: Uint8Array): boolean {
    this.checkRead(offsetBytes, target.length);
    return this.file.readNow(this.offsetBytes + offsetBytes, target);
  }

  async read(offsetBytes: number, target: Uint8Array): Promise<void> {
    this.checkRead(offsetBytes, target.length);
    await this.file.read(this.offsetBytes + offsetBytes, target);
  }

  async load(offsetBytes: number, lengthBytes: number): Promise<void> {
    this.checkReach(offsetBytes, lengthBytes);
    await this.file.load(this.offsetBytes + offsetBytes, lengthBytes);
  }

  canWriteNow(offsetBytes: number, lengthBytes: number): boolean {
    this.checkReach(offsetBytes, lengthBytes);
    return this.file.canWriteNow(this.offsetBytes + offsetBytes, lengthBytes);
  }

  write(offsetBytes: number, data: Uint8Array, stage?: WriteStage): void {
    this.checkWritable();
    this.checkReach(offsetBytes, data.length);
    this.file.write(this.offsetBytes + offsetBytes, data, stage);
  }

  truncate(sizeBytes: number): void {
    this.checkWritable();
    checkRange(this.name, Number.MAX_SAFE_INTEGER - this.offsetBytes, sizeBytes, 0);
    if (this.fixedBytes === undefined) this.file.truncate(this.offsetBytes + sizeBytes);
    else if (sizeBytes !== this.fixedBytes) throw this.fixedSize(sizeBytes);
  }

  forget(offsetBytes: number, lengthBytes: number): void {
    this.checkWritable();
    this.checkReach(offsetBytes, lengthBytes);
    this.file.forget(this.offsetBytes + offsetBytes, lengthBytes);
  }

  async flush(): Promise<void> {
    this.checkOpen();
    await this.file.flush();
  }

  async close(): Promise<void> {
    this.closed = true;
    await this.file.close();
  }

  private checkOpen(): void {
    if (this.closed) throw new ByreError("CLOSED", `${this.name} is closed.`, { file: this.name });
  }

  private checkRead(offsetBytes: number, lengthBytes: number): void {
    this.checkOpen();
    checkRange(this.name, this.sizeBytes, offsetBytes, lengthBytes);
  }

  private checkWritable(): void {
    this.checkOpen();
    if (!this.writable)
      throw new ByreError("READ_ONLY", `${this.name} was opened read-only.`, { file: this.name });
  }

  /** Holds a range that may be past the end against how far the slice may grow. */
  private checkReach(offsetBytes: number, lengthBytes: number): void {
    this.checkOpen();
    checkRange(this.name, Number.MAX_SAFE_INTEGER - this.offsetBytes, offsetBytes, lengthBytes);
    if (this.fixedBytes !== undefined && offsetBytes + lengthBytes > this.fixedBytes)
      throw this.fixedSize(offsetBytes + lengthBytes);
  }

  private fixedSize(wantedBytes: number): ByreError {
    return new ByreError(
      "FIXED_SIZE",
      `${this.name} has ${this.fixedBytes} bytes inside ${this.file.name} and cannot become ${wantedBytes} bytes ` +
        "long. Copy it out into a file of its own first.",
      { file: this.name, sizeBytes: this.fixedBytes, wantedBytes },
    );
  }
}
