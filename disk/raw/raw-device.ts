import type { BlockDevice, BlockStatus } from "../block-device.ts";
import type { BlockFile } from "../block-file.ts";
import { ByreError } from "../errors.ts";
import { checkRange } from "../ranges.ts";

/** Zeros are written in pieces of this many bytes. */
const ZEROS_BYTES = 1024 * 1024;

export interface RawDeviceOptions {
  /** Opens the file for writing too; the file must be writable. Default: as the file is. */
  writable?: boolean;
}

/**
 * A raw image: the guest's bytes are the file's bytes. The device owns the file and closes it.
 *
 * Raw is never guessed for a file that will be written (a guest could write a qcow2 header into its first
 * sector and have the next open follow it); a caller asks for it by name.
 */
export function openRawDevice(file: BlockFile, options: RawDeviceOptions = {}): BlockDevice {
  return new RawDevice(file, options.writable ?? file.writable);
}

class RawDevice implements BlockDevice {
  readonly sizeBytes: number;
  private closed = false;

  constructor(
    private readonly file: BlockFile,
    readonly writable: boolean,
  ) {
    this.sizeBytes = file.sizeBytes;
  }

  get name(): string {
    return this.file.name;
  }

  get dirtyBytes(): number {
    return this.file.dirtyBytes;
  }

  readNow(offsetBytes: number, target: Uint8Array): boolean {
    checkRange(this.name, this.sizeBytes, offsetBytes, target.length);
    return this.file.readNow(offsetBytes, target);
  }

  async read(offsetBytes: number, target: Uint8Array): Promise<void> {
    checkRange(this.name, this.sizeBytes, offsetBytes, target.length);
    await this.file.read(offsetBytes, target);
  }

  writeNow(offsetBytes: number, data: Uint8Array): boolean {
    if (!this.writable)
      throw new ByreError("READ_ONLY", `${this.name} was opened read-only.`, { file: this.name });
    checkRange(this.name, this.sizeBytes, offsetBytes, data.length);
    if (!this.file.canWriteNow(offsetBytes, data.length)) return false;
    this.file.write(offsetBytes, data);
    return true;
  }

  async write(offsetBytes: number, data: Uint8Array): Promise<void> {
    while (!this.writeNow(offsetBytes, data)) await this.file.load(offsetBytes, data.length);
  }

  async writeZeroes(offsetBytes: number, lengthBytes: number): Promise<void> {
    const zeros = new Uint8Array(Math.min(lengthBytes, ZEROS_BYTES));
    for (let done = 0; done < lengthBytes; done += zeros.length)
      await this.write(offsetBytes + done, zeros.subarray(0, lengthBytes - done));
    if (lengthBytes === 0) checkRange(this.name, this.sizeBytes, offsetBytes, 0);
  }

  discard(offsetBytes: number, lengthBytes: number): Promise<void> {
    return this.writeZeroes(offsetBytes, lengthBytes);
  }

  async blockStatus(offsetBytes: number, lengthBytes: number): Promise<BlockStatus> {
    checkRange(this.name, this.sizeBytes, offsetBytes, lengthBytes);
    return {
      lengthBytes,
      allocated: true,
      zero: false,
      data: true,
      compressed: false,
      hostOffsetBytes: offsetBytes,
    };
  }

  async flush(): Promise<void> {
    if (this.closed) throw new ByreError("CLOSED", `${this.name} is closed.`, { file: this.name });
    if (this.writable) await this.file.flush();
  }

  async close(): Promise<void> {
    if (this.closed) return;
    try {
      await this.flush();
    } finally {
      this.closed = true;
      await this.file.close();
    }
  }
}
