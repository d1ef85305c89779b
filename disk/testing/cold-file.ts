import type { BlockFile, WriteStage } from "../block-file.ts";
import { createMemoryFile, type MemoryFile } from "../files/memory-file.ts";

/** What is in memory is known by pieces of this many bytes. */
const PIECE_BYTES = 4096;

export interface ColdFile extends BlockFile {
  toBytes(): Uint8Array<ArrayBuffer>;
  /** Forgets everything that was loaded. */
  chill(): void;
  /** When set, the next loads and reads reject with it. */
  failure: Error | undefined;
  loads: number;
}

/**
 * A file that has nothing in memory until it is loaded, and soon forgets it: the hard case for a device,
 * which meets every wait there can be. Loads resolve a turn of the event loop later.
 *
 * @param capacityPieces how many pieces stay loaded.
 */
export function createColdFile(
  content?: Uint8Array,
  options: { name?: string; capacityPieces?: number; transactional?: boolean } = {},
): ColdFile {
  const { name = "cold", capacityPieces = 64, transactional = true } = options;
  const memory: MemoryFile = createMemoryFile(content ? { name, content } : { name });
  const loaded = new Set<number>();
  const touch = (piece: number) => {
    loaded.delete(piece);
    loaded.add(piece);
  };
  const forgetOldest = (justLoaded: number) => {
    for (const oldest of loaded) {
      if (loaded.size <= Math.max(capacityPieces, justLoaded)) break;
      loaded.delete(oldest);
    }
  };
  const piecesOf = (offsetBytes: number, lengthBytes: number): number[] => {
    if (lengthBytes === 0) return [];
    const first = Math.floor(offsetBytes / PIECE_BYTES);
    const last = Math.floor((offsetBytes + lengthBytes - 1) / PIECE_BYTES);
    return Array.from({ length: last - first + 1 }, (_, i) => first + i);
  };
  const file: ColdFile = {
    name,
    writable: true,
    transactional,
    failure: undefined,
    loads: 0,
    get sizeBytes() {
      return memory.sizeBytes;
    },
    get dirtyBytes() {
      return memory.dirtyBytes;
    },
    readNow(offsetBytes, target) {
      if (!piecesOf(offsetBytes, target.length).every((piece) => loaded.has(piece))) return false;
      return memory.readNow(offsetBytes, target);
    },
    async read(offsetBytes, target) {
      await file.load(offsetBytes, target.length);
      await memory.read(offsetBytes, target);
    },
    async load(offsetBytes, lengthBytes) {
      file.loads++;
      await new Promise((resolve) => setImmediate(resolve));
      if (file.failure) throw file.failure;
      const pieces = piecesOf(offsetBytes, lengthBytes);
      for (const piece of pieces) touch(piece);
      forgetOldest(pieces.length);
    },
    canWriteNow(offsetBytes, lengthBytes) {
      // As in a file of blocks: a piece that is only partly overwritten must be there.
      return piecesOf(offsetBytes, lengthBytes).every(
        (piece) =>
          loaded.has(piece) ||
          piece * PIECE_BYTES >= memory.sizeBytes ||
          (piece * PIECE_BYTES >= offsetBytes && (piece + 1) * PIECE_BYTES <= offsetBytes + lengthBytes),
      );
    },
    write(offsetBytes, data, stage?: WriteStage) {
      if (!file.canWriteNow(offsetBytes, data.length))
        throw new Error(`write at ${offsetBytes} was not loaded`);
      const sizeBefore = memory.sizeBytes;
      memory.write(offsetBytes, data, stage);
      // What lies between the old end and the write is known: it could be written before, and still can be.
      if (offsetBytes > sizeBefore)
        for (const piece of piecesOf(sizeBefore, offsetBytes - sizeBefore)) touch(piece);
      for (const piece of piecesOf(offsetBytes, data.length)) touch(piece);
    },
    truncate: (sizeBytes) => memory.truncate(sizeBytes),
    forget: (offsetBytes, lengthBytes) => memory.forget(offsetBytes, lengthBytes),
    async flush() {
      await new Promise((resolve) => setImmediate(resolve));
      if (file.failure) throw file.failure;
    },
    close: () => memory.close(),
    chill: () => loaded.clear(),
    toBytes: () => memory.toBytes(),
  };
  return file;
}
