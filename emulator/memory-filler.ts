import { isAllZero } from "../disk/index.ts";
import { guestMemory } from "./machine-memory.ts";
import { fingerprint, type Print, samePrint } from "./saved-clusters.ts";
import type { StateHeader } from "./state-format.ts";
import { type LoadedState, putInto } from "./state-loading.ts";
import type { V86Emulator } from "./v86-internals.ts";

/**
 * Takes the parts of a state as they come: memory straight into an emulator that does not run yet, or kept
 * until one that still runs has been stopped.
 */
export class MemoryFiller {
  /** The devices' part, whole once everything was put. */
  readonly device: Uint8Array<ArrayBuffer>;
  private readonly kept: { readonly offsetBytes: number; readonly bytes: Uint8Array }[] = [];

  /** @param direct the emulator to fill at once. */
  constructor(
    private readonly header: StateHeader,
    private readonly direct: V86Emulator | undefined,
  ) {
    this.device = new Uint8Array(header.device.lengthBytes);
  }

  put(offsetBytes: number, bytes: Uint8Array<ArrayBuffer>): void {
    const { memory, device } = this.header;
    if (offsetBytes >= device.offsetBytes) putInto(this.device, device, offsetBytes, bytes);
    else if (this.direct) putInto(guestMemory(this.direct), memory, offsetBytes, bytes);
    else this.kept.push({ offsetBytes, bytes });
  }

  /** Whether a cluster of the memory is what it is to be: for an emulator that stands still. */
  isThere(emulator: V86Emulator, index: number, print: Print, clusterSizeBytes: number): boolean {
    const memory = guestMemory(emulator);
    const at = index * clusterSizeBytes - this.header.memory.offsetBytes;
    if (at < 0 || at + clusterSizeBytes > memory.length) return false;
    return samePrint(print, fingerprint(memory.subarray(at, at + clusterSizeBytes)));
  }

  /** Puts what was kept, and zeros where nothing is stored. The emulator stands still. */
  finish(emulator: V86Emulator, { stored, clusterSizeBytes }: LoadedState): void {
    const memory = guestMemory(emulator);
    for (const { offsetBytes, bytes } of this.kept) putInto(memory, this.header.memory, offsetBytes, bytes);
    this.kept.length = 0;
    const isStored = new Set(stored);
    const first = this.header.memory.offsetBytes / clusterSizeBytes;
    for (let at = 0; at < memory.length; at += clusterSizeBytes) {
      if (isStored.has(first + at / clusterSizeBytes)) continue;
      const piece = memory.subarray(at, at + clusterSizeBytes);
      // To write is four times as fast as to look; but a new memory's pages, which are only made when they are
      // written to, are zeros but for the firmware.
      if (!this.direct || !isAllZero(piece)) piece.fill(0);
    }
  }
}
