import type { BlockFile } from "../block-file.ts";
import { ByreError } from "../errors.ts";
import { createMemoryFile } from "../files/memory-file.ts";

const BLOCK_BYTES = 32 * 1024;

/** A file with transactions, in memory, whose storage fails when a test says so. */
export interface QuotaFile extends BlockFile {
  /** How many blocks the storage takes; a flush that needs more fails whole. */
  quotaBlocks: number;
  /** From this flush on (counted from 0) each fails, until it is set to another number. */
  failFrom: number;
  /** The flushes from this one on succeed again. */
  failTo: number;
  readonly flushes: number;
  /** What the last flush that succeeded left: what a page that is opened again finds. */
  durable(): Uint8Array<ArrayBuffer>;
  /** What the file reads as. */
  toBytes(): Uint8Array<ArrayBuffer>;
}

/** The model of a browser's storage: blocks, one commit for all that is dirty, and a quota. */
export function createQuotaFile(content: Uint8Array, name = "quota"): QuotaFile {
  const memory = createMemoryFile({ name, content });
  let durable = memory.toBytes();
  let dirty = new Set<number>();
  let stored = new Set(blocksOf(0, content.length));
  let flushes = 0;
  const file: QuotaFile = {
    name,
    writable: true,
    transactional: true,
    quotaBlocks: Number.POSITIVE_INFINITY,
    failFrom: Number.POSITIVE_INFINITY,
    failTo: Number.POSITIVE_INFINITY,
    get flushes() {
      return flushes;
    },
    get sizeBytes() {
      return memory.sizeBytes;
    },
    get dirtyBytes() {
      return dirty.size * BLOCK_BYTES;
    },
    readNow: (offsetBytes, target) => memory.readNow(offsetBytes, target),
    read: (offsetBytes, target) => memory.read(offsetBytes, target),
    load: (offsetBytes, lengthBytes) => memory.load(offsetBytes, lengthBytes),
    canWriteNow: () => true,
    write(offsetBytes, data) {
      memory.write(offsetBytes, data);
      for (const block of blocksOf(offsetBytes, data.length)) dirty.add(block);
    },
    truncate(sizeBytes) {
      memory.truncate(sizeBytes);
      const end = Math.ceil(sizeBytes / BLOCK_BYTES);
      for (const block of dirty) if (block >= end) dirty.delete(block);
    },
    forget(offsetBytes, lengthBytes) {
      const end = Math.floor((offsetBytes + lengthBytes) / BLOCK_BYTES);
      for (let block = Math.ceil(offsetBytes / BLOCK_BYTES); block < end; block++) {
        if (!dirty.delete(block)) continue;
        // Whoever reads it all the same is to notice.
        const at = block * BLOCK_BYTES;
        memory.write(at, new Uint8Array(Math.min(BLOCK_BYTES, memory.sizeBytes - at)).fill(0xdb));
      }
    },
    async flush() {
      await Promise.resolve();
      const end = Math.ceil(memory.sizeBytes / BLOCK_BYTES);
      const after = new Set([...stored, ...dirty].filter((block) => block < end));
      const flush = flushes++;
      if ((flush >= file.failFrom && flush < file.failTo) || after.size > file.quotaBlocks)
        throw new ByreError("QUOTA_EXCEEDED", `${name}: its storage is full.`, { file: name });
      stored = after;
      dirty = new Set();
      durable = memory.toBytes();
    },
    close: () => memory.close(),
    durable: () => durable,
    toBytes: () => memory.toBytes(),
  };
  return file;
}

function blocksOf(offsetBytes: number, lengthBytes: number): number[] {
  const first = Math.floor(offsetBytes / BLOCK_BYTES);
  return Array.from(
    { length: Math.ceil((offsetBytes + lengthBytes) / BLOCK_BYTES) - first },
    (_, i) => first + i,
  );
}
