import type { MachineConfiguration } from "./machine.ts";
import { captureDevices, guestMemory } from "./machine-memory.ts";
import { isZero } from "./saved-clusters.ts";
import { encodeStateHeader, MEMORY_OFFSET_BYTES } from "./state-format.ts";
import type { V86Emulator } from "./v86-internals.ts";

/** A cluster of a state, copied while the machine stood still. */
export interface CapturedCluster {
  readonly index: number;
  readonly bytes: Uint8Array;
}

/** A whole state in memory: every cluster of it that is not zeros. */
export interface CapturedState {
  readonly sizeBytes: number;
  readonly clusters: readonly CapturedCluster[];
}

/** What v86 calls itself; a state is only taken by the same. */
export const EMULATOR_VERSION = "v86 0.5.462 state 6";

/**
 * Copies a machine's state. The processor must stand still, and no disk request be in flight. This is the time
 * for which a guest stops, so nothing but copying is done.
 *
 * @param room memory kept from an earlier capture, to copy into: fresh pages cost more than the copying.
 */
export async function captureState(
  emulator: V86Emulator,
  options: {
    configuration: MachineConfiguration;
    drives: readonly string[];
    clusterSizeBytes: number;
    room: CaptureRoom;
  },
): Promise<CapturedState> {
  const { clusterSizeBytes, configuration, drives, room } = options;
  const memory = guestMemory(emulator);
  const clusters: CapturedCluster[] = [];
  room.reset();
  const add = (source: Uint8Array, offsetBytes: number) => {
    for (let at = 0; at < source.length; at += clusterSizeBytes) {
      const piece = source.subarray(at, at + clusterSizeBytes);
      const whole = piece.length % 8 === 0 && piece.byteOffset % 8 === 0;
      if (whole && isZero(piece)) continue;
      const bytes = room.take(clusterSizeBytes);
      bytes.fill(0, piece.length);
      bytes.set(piece);
      clusters.push({ index: (offsetBytes + at) / clusterSizeBytes, bytes });
    }
  };
  const device = await captureDevices(emulator);
  add(memory, MEMORY_OFFSET_BYTES);
  const deviceOffset =
    Math.ceil((MEMORY_OFFSET_BYTES + memory.length) / MEMORY_OFFSET_BYTES) * MEMORY_OFFSET_BYTES;
  add(device, deviceOffset);
  const header = encodeStateHeader({
    emulator: EMULATOR_VERSION,
    configuration,
    drives,
    memory: { offsetBytes: MEMORY_OFFSET_BYTES, lengthBytes: memory.length },
    device: { offsetBytes: deviceOffset, lengthBytes: device.length },
    savedAtMs: Date.now(),
  });
  add(header, 0);
  return { sizeBytes: deviceOffset + device.length, clusters };
}

/** Memory that captures are copied into, kept from one to the next. */
export class CaptureRoom {
  private readonly blocks: ArrayBuffer[] = [];
  private used = 0;

  reset(): void {
    this.used = 0;
  }

  take(lengthBytes: number): Uint8Array {
    const block = this.blocks[this.used];
    this.used++;
    if (block?.byteLength === lengthBytes) return new Uint8Array(block);
    const fresh = new ArrayBuffer(lengthBytes);
    this.blocks[this.used - 1] = fresh;
    return new Uint8Array(fresh);
  }
}
