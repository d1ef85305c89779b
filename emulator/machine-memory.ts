import type { V86Cpu, V86Emulator } from "./v86-internals.ts";

/**
 * The emulator's state in two parts: the guest's memory, which lies in one array, and everything else, which
 * v86 puts into a buffer of its own. v86 itself packs memory into that buffer as well; for the time of a call it
 * is told that there is none.
 */

/** The guest's memory itself, not a copy. The processor must not run while it is read or written. */
export function guestMemory(emulator: V86Emulator): Uint8Array {
  return emulator.v86.cpu.mem8;
}

/** Everything but the memory, as v86 encodes it. The processor must not run. */
export async function captureDevices(emulator: V86Emulator): Promise<Uint8Array<ArrayBuffer>> {
  const { cpu } = emulator.v86;
  return without(
    cpu,
    "pack_memory",
    () => emptyMemory(cpu),
    async () => new Uint8Array(await emulator.save_state()),
  );
}

/**
 * Brings back what `captureDevices` gave. The memory must be in its place before: v86 drops its compiled code
 * as it reads this.
 */
export async function restoreDevices(emulator: V86Emulator, state: Uint8Array<ArrayBuffer>): Promise<void> {
  const { cpu } = emulator.v86;
  const buffer = state.byteLength === state.buffer.byteLength ? state.buffer : state.slice().buffer;
  await without(
    cpu,
    "unpack_memory",
    () => undefined,
    () => emulator.restore_state(buffer),
  );
}

/** What v86 saves of a memory that is all zeros. */
function emptyMemory(cpu: V86Cpu) {
  const bitmapBytes = Math.ceil(cpu.mem8.length / 4096 / 8);
  return {
    packed_memory: new Uint8Array(0),
    bitmap: { get_buffer: () => new ArrayBuffer(bitmapBytes) },
  };
}

/** Runs with one of the processor's functions replaced. */
async function without<Result>(
  cpu: V86Cpu,
  name: "pack_memory" | "unpack_memory",
  instead: () => unknown,
  work: () => Promise<Result>,
): Promise<Result> {
  // An own property over the prototype's, and gone again after.
  Object.defineProperty(cpu, name, { value: instead, configurable: true, writable: true });
  try {
    return await work();
  } finally {
    Reflect.deleteProperty(cpu, name);
  }
}
