import { isAllZero } from "../disk/index.ts";
import { captureDevices, guestMemory } from "./machine-memory.ts";
import { type Print, type PrintTable, samePrint } from "./saved-clusters.ts";
import { alignExtent, MEMORY_OFFSET_BYTES, type StateExtent } from "./state-format.ts";
import type { V86Emulator } from "./v86-internals.ts";

/** A cluster of a state, copied while the machine stood still. */
export interface CapturedCluster {
  readonly index: number;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/** Memory and devices of a machine: every cluster of them that is not zeros. */
export interface CapturedState {
  readonly memory: StateExtent;
  readonly device: StateExtent;
  readonly clusters: readonly CapturedCluster[];
}

/** What v86 calls itself; a state is only taken by the same. */
export const EMULATOR_VERSION = "v86 0.5.462 state 6";

/**
 * Copies a machine's state. The processor must stand still, and no disk request be in flight. This is the time
 * for which a guest stops, so nothing but copying is done.
 */
export async function captureState(
  emulator: V86Emulator,
  clusterSizeBytes: number,
  room: CaptureRoom,
): Promise<CapturedState> {
  const clusters: CapturedCluster[] = [];
  room.reset();
  const add = (source: Uint8Array, offsetBytes: number): StateExtent => {
    for (let at = 0; at < source.length; at += clusterSizeBytes) {
      const piece = source.subarray(at, at + clusterSizeBytes);
      const whole = piece.length % 16 === 0 && piece.byteOffset % 4 === 0;
      if (whole && isAllZero(piece)) continue;
      const bytes = room.take(clusterSizeBytes);
      bytes.fill(0, piece.length);
      bytes.set(piece);
      clusters.push({ index: (offsetBytes + at) / clusterSizeBytes, bytes });
    }
    return { offsetBytes, lengthBytes: source.length };
  };
  const devices = await captureDevices(emulator);
  const memory = add(guestMemory(emulator), MEMORY_OFFSET_BYTES);
  const device = add(devices, alignExtent(MEMORY_OFFSET_BYTES + memory.lengthBytes));
  return { memory, device, clusters };
}

/**
 * Memory that captures are copied into, kept from one to the next: fresh pages cost more than the copying. What
 * was saved last stays in it, so that a load of that need not unpack it.
 */
export class CaptureRoom {
  private free: ArrayBuffer[] = [];
  private kept = new Map<number, { readonly print: Print; readonly bytes: Uint8Array<ArrayBuffer> }>();

  /** To be called before a capture: what was kept is written over. */
  reset(): void {
    for (const { bytes } of this.kept.values()) this.free.push(bytes.buffer);
    this.kept.clear();
  }

  take(lengthBytes: number): Uint8Array<ArrayBuffer> {
    const block = this.free.pop();
    return new Uint8Array(block?.byteLength === lengthBytes ? block : new ArrayBuffer(lengthBytes));
  }

  /** Takes back what `take` gave, and keeps it as a cluster of the state. */
  keep(index: number, print: Print, bytes: Uint8Array<ArrayBuffer>): void {
    this.kept.set(index, { print, bytes });
  }

  /** A cluster that was saved last, if it is the one with this print. Not to be changed. */
  find(index: number, print: Print): Uint8Array<ArrayBuffer> | undefined {
    const kept = this.kept.get(index);
    return kept && samePrint(kept.print, print) ? kept.bytes : undefined;
  }

  /** Lets go of all that is not part of a state: there is at most one copy of a guest's memory beside it. */
  keepOnly(prints: PrintTable): void {
    this.free = [];
    for (const [index, { print }] of this.kept) if (!prints.has(index, print)) this.kept.delete(index);
  }
}
