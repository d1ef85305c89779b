import type { BlockFile } from "../block-file.ts";
import { ReadOnlyFile } from "../files/read-only-file.ts";
import { checkRange } from "../ranges.ts";

/** Where a file stands in a larger one. */
export interface FilePlace {
  readonly offsetBytes: number;
  readonly file: BlockFile;
}

/**
 * Files one after the other, as one; what lies between them reads as zeros. Read-only.
 *
 * @param parts in rising order, none over another's end. They are closed with it.
 */
export function createJoinedFile(name: string, sizeBytes: number, parts: readonly FilePlace[]): BlockFile {
  return new JoinedFile(name, sizeBytes, parts);
}

/** A part of a request, and of which file. */
interface Piece {
  readonly file: BlockFile;
  readonly inFile: number;
  readonly start: number;
  readonly end: number;
}

class JoinedFile extends ReadOnlyFile implements BlockFile {
  /** Without those that are empty: they may begin where another does. */
  private readonly parts: readonly (FilePlace & { readonly endBytes: number })[];

  constructor(
    name: string,
    sizeBytes: number,
    private readonly all: readonly FilePlace[],
  ) {
    super(name, sizeBytes, "a CD");
    this.parts = all
      .map(({ offsetBytes, file }) => ({ offsetBytes, file, endBytes: offsetBytes + file.sizeBytes }))
      .filter(({ offsetBytes, endBytes }) => endBytes > offsetBytes);
  }

  readNow(offsetBytes: number, target: Uint8Array): boolean {
    const pieces = this.pieces(offsetBytes, target.length);
    for (const { file, inFile, start, end } of pieces)
      if (!file.readNow(inFile, target.subarray(start, end))) return false;
    clearBetween(pieces, target);
    return true;
  }

  async read(offsetBytes: number, target: Uint8Array): Promise<void> {
    const pieces = this.pieces(offsetBytes, target.length);
    await Promise.all(
      pieces.map(({ file, inFile, start, end }) => file.read(inFile, target.subarray(start, end))),
    );
    clearBetween(pieces, target);
  }

  async load(offsetBytes: number, lengthBytes: number): Promise<void> {
    const pieces = this.pieces(offsetBytes, lengthBytes);
    await Promise.all(pieces.map(({ file, inFile, start, end }) => file.load(inFile, end - start)));
  }

  async close(): Promise<void> {
    if (this.closed) return;
    this.closed = true;
    const closings = await Promise.allSettled(this.all.map(({ file }) => file.close()));
    for (const closing of closings) if (closing.status === "rejected") throw closing.reason;
  }

  private pieces(offsetBytes: number, lengthBytes: number): Piece[] {
    this.checkOpen();
    checkRange(this.name, this.sizeBytes, offsetBytes, lengthBytes);
    const pieces: Piece[] = [];
    const endBytes = offsetBytes + lengthBytes;
    for (let index = this.firstEndingAfter(offsetBytes); index < this.parts.length; index++) {
      const part = this.parts[index];
      if (!part || part.offsetBytes >= endBytes) break;
      const from = Math.max(offsetBytes, part.offsetBytes);
      pieces.push({
        file: part.file,
        inFile: from - part.offsetBytes,
        start: from - offsetBytes,
        end: Math.min(endBytes, part.endBytes) - offsetBytes,
      });
    }
    return pieces;
  }

  private firstEndingAfter(offsetBytes: number): number {
    let low = 0;
    let high = this.parts.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.parts[middle]?.endBytes ?? 0) > offsetBytes) high = middle;
      else low = middle + 1;
    }
    return low;
  }
}

function clearBetween(pieces: readonly Piece[], target: Uint8Array): void {
  let at = 0;
  for (const { start, end } of pieces) {
    target.fill(0, at, start);
    at = end;
  }
  target.fill(0, at);
}
