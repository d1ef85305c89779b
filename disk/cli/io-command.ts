import type { BlockDevice } from "../block-device.ts";
import type { BlockFile } from "../block-file.ts";
import type { Out } from "./out.ts";

/** What a command of `io` works on. */
export interface IoContext {
  /** Replaced when a raw image is given another length. */
  device: BlockDevice;
  readonly file: BlockFile;
  readonly out: Out;
  /** `-d unmap`: a discard lets go of room; else it does nothing. */
  readonly discards: boolean;
}

/** A command of `io`, as qemu-io has it. */
export interface IoCommand {
  readonly name: string;
  readonly short?: string;
  /** Fewest and most words after its name. */
  readonly minArguments: number;
  readonly maxArguments: number;
  /** What it takes, for its usage. */
  readonly usage: string;
  readonly summary: string;
  readonly writes?: boolean;
  /** @throws IoFailure, IoUsage; ByreError for what the device met. */
  run(context: IoContext, words: readonly string[]): Promise<void>;
}

/** What QEMU calls the largest request: what fits a signed 32-bit number, in whole sectors. */
export const MAX_IO_BYTES = 2 ** 31 - 512;

/** Requests are made in pieces of this size, at multiples of it: so memory stays small and clusters whole. */
export const IO_PIECE_BYTES = 2 * 1024 * 1024;

/** Cuts a range at multiples of `IO_PIECE_BYTES`. */
export function* ioPieces(
  offsetBytes: number,
  lengthBytes: number,
): Generator<{ offsetBytes: number; lengthBytes: number }> {
  for (let at = offsetBytes; at < offsetBytes + lengthBytes; ) {
    const length = Math.min(IO_PIECE_BYTES - (at % IO_PIECE_BYTES), offsetBytes + lengthBytes - at);
    yield { offsetBytes: at, lengthBytes: length };
    at += length;
  }
}

/** Runs a request and takes its time. */
export async function timed(action: () => Promise<void>): Promise<number> {
  const startMs = performance.now();
  await action();
  // Never 0: what is printed divides by it.
  return Math.max(1e-6, (performance.now() - startMs) / 1000);
}
