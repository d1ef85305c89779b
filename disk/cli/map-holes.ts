import { closeSync, fstatSync, openSync } from "node:fs";
import { readUpTo } from "./worker-job.ts";
import { isZero } from "./worker-sparse.ts";

const READ_BYTES = 1024 * 1024;

/**
 * Finds the holes of a plain file. Node cannot ask the file system for them (SEEK_HOLE), so pages of zeros
 * are taken for holes, save where the file's size on disk says that there are none or nothing else. A page
 * of zeros that was really written is told from a hole by nothing but that.
 */
export class HoleFinder {
  private readonly fd: number;
  private readonly pageBytes: number;
  readonly sizeBytes: number;
  /** Bytes the file takes on its disk: 0 is one hole, its size and more is none. */
  private readonly diskBytes: number;
  private readonly buffer: Buffer;
  /** What the last search found: up to `knownEnd` all is as at `knownStart`. */
  private knownStart = 0;
  private knownEnd = 0;
  private knownHole = false;

  /** @param unitBytes what is a hole or not as a whole, counted from the file's start. Default: a page. */
  constructor(
    private readonly path: string,
    unitBytes?: number,
  ) {
    this.fd = openSync(path, "r");
    const { size, blocks, blksize } = fstatSync(this.fd);
    this.sizeBytes = size;
    this.diskBytes = blocks * 512;
    this.pageBytes = unitBytes ?? Math.min(READ_BYTES, Math.max(512, blksize));
    this.buffer = Buffer.allocUnsafeSlow(Math.max(READ_BYTES, this.pageBytes));
  }

  /**
   * @param lengthBytes at least 1.
   * @returns whether a hole is there, and for how many of the bytes that answer holds. Past the end of the
   *   file there is a hole.
   */
  find(offsetBytes: number, lengthBytes: number): { hole: boolean; lengthBytes: number } {
    if (offsetBytes >= this.sizeBytes || this.diskBytes === 0) return { hole: true, lengthBytes };
    if (this.diskBytes >= this.sizeBytes) return { hole: false, lengthBytes };
    if (offsetBytes < this.knownStart || offsetBytes >= this.knownEnd) this.search(offsetBytes);
    return { hole: this.knownHole, lengthBytes: Math.min(lengthBytes, this.knownEnd - offsetBytes) };
  }

  close(): void {
    closeSync(this.fd);
  }

  private search(offsetBytes: number): void {
    this.knownStart = offsetBytes - (offsetBytes % this.pageBytes);
    let at = this.knownStart;
    let hole: boolean | undefined;
    while (at < this.sizeBytes) {
      const part = this.buffer.subarray(0, Math.min(this.buffer.length, this.sizeBytes - at));
      const length = readUpTo(this.fd, part, at, this.path);
      for (let start = 0; start < length; start += this.pageBytes) {
        const isHole = isZero(part, start, Math.min(length, start + this.pageBytes));
        hole ??= isHole;
        if (isHole !== hole) {
          this.knownEnd = at + start;
          this.knownHole = hole;
          return;
        }
      }
      if (length === 0) break;
      at += length;
    }
    this.knownHole = hole ?? true;
    this.knownEnd = this.sizeBytes;
  }
}
