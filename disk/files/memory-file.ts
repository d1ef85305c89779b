import type { BlockFile, WriteStage } from "../block-file.ts";
import { ByreError } from "../errors.ts";
import { checkRange } from "../ranges.ts";

/** Bytes of one page of a memory file; pages that were never written are not allocated. */
const PAGE_BYTES = 64 * 1024;

export interface MemoryFileOptions {
  name?: string;
  /** First content; copied. */
  content?: Uint8Array;
  writable?: boolean;
}

/** A memory file is a `BlockFile` whose content can be taken out whole. */
export interface MemoryFile extends BlockFile {
  /** A copy of the whole content. */
  toBytes(): Uint8Array<ArrayBuffer>;
}

/**
 * A file in memory: sparse, growable, always ready. Its flush does nothing, since nothing outlives it.
 */
export function createMemoryFile(options: MemoryFileOptions = {}): MemoryFile {
  return new PagedMemoryFile(options);
}

class PagedMemoryFile implements MemoryFile {
  readonly name: string;
  readonly writable: boolean;
  readonly transactional = true;
  readonly dirtyBytes = 0;
  sizeBytes = 0;
  private pages = new Map<number, Uint8Array>();
  private closed = false;

  constructor(options: MemoryFileOptions) {
    this.name = options.name ?? "memory";
    this.writable = options.writable ?? true;
    if (options.content) this.put(0, options.content);
  }

  readNow(offsetBytes: number, target: Uint8Array): boolean {
    this.checkOpen();
    checkRange(this.name, this.sizeBytes, offsetBytes, target.length);
    let done = 0;
    while (done < target.length) {
      const at = offsetBytes + done;
      const inPage = at % PAGE_BYTES;
      const length = Math.min(PAGE_BYTES - inPage, target.length - done);
      const page = this.pages.get((at - inPage) / PAGE_BYTES);
      if (page) target.set(page.subarray(inPage, inPage + length), done);
      else target.fill(0, done, done + length);
      done += length;
    }
    return true;
  }

  async read(offsetBytes: number, target: Uint8Array): Promise<void> {
    this.readNow(offsetBytes, target);
  }

  async load(offsetBytes: number, lengthBytes: number): Promise<void> {
    this.checkOpen();
    checkRange(this.name, Math.max(this.sizeBytes, offsetBytes + lengthBytes), offsetBytes, lengthBytes);
  }

  canWriteNow(): boolean {
    return true;
  }

  write(offsetBytes: number, data: Uint8Array, _stage?: WriteStage): void {
    this.checkWritable();
    checkRange(this.name, Number.MAX_SAFE_INTEGER, offsetBytes, data.length);
    this.put(offsetBytes, data);
  }

  truncate(sizeBytes: number): void {
    this.checkWritable();
    checkRange(this.name, Number.MAX_SAFE_INTEGER, sizeBytes, 0);
    if (sizeBytes < this.sizeBytes) {
      const keptPages = Math.ceil(sizeBytes / PAGE_BYTES);
      for (const index of this.pages.keys()) if (index >= keptPages) this.pages.delete(index);
      this.pages.get(keptPages - 1)?.fill(0, sizeBytes - (keptPages - 1) * PAGE_BYTES);
    }
    this.sizeBytes = sizeBytes;
  }

  forget(offsetBytes: number, lengthBytes: number): void {
    this.checkWritable();
    const end = Math.floor((offsetBytes + lengthBytes) / PAGE_BYTES);
    for (let index = Math.ceil(offsetBytes / PAGE_BYTES); index < end; index++) this.pages.delete(index);
  }

  async flush(): Promise<void> {
    this.checkOpen();
  }

  async close(): Promise<void> {
    this.closed = true;
    this.pages = new Map();
  }

  toBytes(): Uint8Array<ArrayBuffer> {
    const bytes = new Uint8Array(this.sizeBytes);
    this.readNow(0, bytes);
    return bytes;
  }

  private put(offsetBytes: number, data: Uint8Array): void {
    let done = 0;
    while (done < data.length) {
      const at = offsetBytes + done;
      const inPage = at % PAGE_BYTES;
      const length = Math.min(PAGE_BYTES - inPage, data.length - done);
      const index = (at - inPage) / PAGE_BYTES;
      let page = this.pages.get(index);
      if (!page) {
        page = new Uint8Array(PAGE_BYTES);
        this.pages.set(index, page);
      }
      page.set(data.subarray(done, done + length), inPage);
      done += length;
    }
    if (data.length > 0) this.sizeBytes = Math.max(this.sizeBytes, offsetBytes + data.length);
  }

  private checkOpen(): void {
    if (this.closed) throw new ByreError("CLOSED", `${this.name} is closed.`, { file: this.name });
  }

  private checkWritable(): void {
    this.checkOpen();
    if (!this.writable)
      throw new ByreError("READ_ONLY", `${this.name} was opened read-only.`, { file: this.name });
  }
}
