import type { MachineOutput } from "./machine-devices.ts";
import type { V86Emulator } from "./v86-internals.ts";

/** A file larger than this is not handed out byte by byte; and a guest must not fill the page's memory. */
const MAX_OUTPUT_BYTES = 64 * 1024 * 1024;
const CHUNK_BYTES = 64 * 1024;

/** The second serial port, of which only the output is used. It outlives the emulator it is attached to. */
export interface Output extends MachineOutput {
  attach(emulator: V86Emulator): void;
}

export function createOutput(maxBytes = MAX_OUTPUT_BYTES): Output {
  let chunks: Uint8Array<ArrayBuffer>[] = [];
  let sizeBytes = 0;
  let droppedBytes = 0;
  let scheduled = false;
  const listeners = new Set<() => void>();

  const notify = () => {
    scheduled = false;
    for (const listener of [...listeners]) listener();
  };
  const take = (byte: number) => {
    if (!scheduled) {
      scheduled = true;
      queueMicrotask(notify);
    }
    if (sizeBytes === maxBytes) {
      droppedBytes++;
      return;
    }
    const at = sizeBytes % CHUNK_BYTES;
    if (at === 0) chunks.push(new Uint8Array(CHUNK_BYTES));
    const chunk = chunks[chunks.length - 1];
    if (chunk) chunk[at] = byte;
    sizeBytes++;
  };
  return {
    attach(emulator) {
      emulator.add_listener("serial1-output-byte", take);
    },
    get sizeBytes() {
      return sizeBytes;
    },
    get droppedBytes() {
      return droppedBytes;
    },
    bytes() {
      const all = new Uint8Array(sizeBytes);
      for (const [index, chunk] of chunks.entries()) {
        const offset = index * CHUNK_BYTES;
        all.set(chunk.subarray(0, sizeBytes - offset), offset);
      }
      return all;
    },
    clear() {
      chunks = [];
      sizeBytes = 0;
      droppedBytes = 0;
      notify();
    },
    onOutput(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
}
