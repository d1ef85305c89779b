import type { ExportTarget } from "../open/export-disk.ts";

/** How much of an image's beginning is compared: its header, and what it says of itself. */
export const PRINT_BYTES = 64 * 1024;

/** What an image file is known again by. */
export interface ImagePrint {
  readonly sizeBytes: number;
  /** SHA-256 of the first 64 KiB, in hex. */
  readonly beginning: string;
}

/** The hash of a file's first 64 KiB, or of all of a shorter one. */
export async function printOf(beginning: Uint8Array<ArrayBuffer>): Promise<string> {
  const hash = await crypto.subtle.digest("SHA-256", beginning.subarray(0, PRINT_BYTES));
  return Array.from(new Uint8Array(hash), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/**
 * Looks at a file while it is written from its beginning on.
 *
 * @returns where to write it, and its print once it is closed.
 */
export function watchPrint(target: ExportTarget): {
  readonly target: ExportTarget;
  readonly print: () => Promise<ImagePrint>;
} {
  const beginning = new Uint8Array(PRINT_BYTES);
  let sizeBytes = 0;
  const writer = target.getWriter();
  return {
    target: new WritableStream<Uint8Array<ArrayBuffer>>({
      async write(piece) {
        if (sizeBytes < PRINT_BYTES) beginning.set(piece.subarray(0, PRINT_BYTES - sizeBytes), sizeBytes);
        sizeBytes += piece.length;
        await writer.write(piece);
      },
      close: () => writer.close(),
      abort: (reason) => writer.abort(reason),
    }),
    print: async () => ({
      sizeBytes,
      beginning: await printOf(beginning.slice(0, Math.min(sizeBytes, PRINT_BYTES))),
    }),
  };
}
