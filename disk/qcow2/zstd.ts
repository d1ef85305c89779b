import { ByreError } from "../errors.ts";
import type { ClusterCodec } from "./compression.ts";
import { parseZstdFrame } from "./zstd-frame.ts";

/** The library's own default, and QEMU's. */
const DEFAULT_LEVEL = 3;

/**
 * Most frames one cluster may be made of. QEMU and we write one; without a bound, megabytes of empty frames
 * would cost a call of the decoder each.
 */
const MAX_FRAMES = 1024;

/**
 * What is used of the library. Its public calls copy their result through an array of numbers, which makes
 * them 70 times slower than its decoder (12 MB/s against 900 MB/s on 64 KiB clusters), and choose the
 * output's size by what the data claims. So the functions below them are called, with buffers of our own;
 * `startZstd` makes sure that they are there.
 */
interface ZstdFunctions {
  malloc(lengthBytes: number): number;
  free(pointer: number): void;
  compressBound(lengthBytes: number): number;
  /** @returns bytes written, or a code for which `isError` holds. */
  compress(target: number, capacity: number, source: number, lengthBytes: number, level: number): number;
  decompress(target: number, capacity: number, source: number, lengthBytes: number): number;
  isError(code: number): number;
}

/** Replaced by the library whenever the memory grows, so: to be asked anew after every call. */
interface ZstdMemory {
  readonly HEAPU8: Uint8Array;
}

/**
 * Loads the zstd codec: 240 KB of script with WebAssembly inside, compiled once and only when asked for.
 *
 * @throws ByreError INTERNAL when the library cannot be started, as where WebAssembly is forbidden.
 */
export function loadZstd(): Promise<ClusterCodec> {
  // One for all images: its calls are synchronous and keep nothing but their buffers.
  codec ??= startZstd();
  return codec;
}

let codec: Promise<ClusterCodec> | undefined;

async function startZstd(): Promise<ClusterCodec> {
  try {
    const { Zstd } = await import("@hpcc-js/wasm-zstd");
    const { _zstdClass: functions, _mainModule: main } = (await Zstd.load()) as unknown as {
      _zstdClass?: ZstdFunctions;
      _mainModule?: { _module?: ZstdMemory };
    };
    const memory = main?._module;
    if (!functions?.decompress || !functions.malloc || !(memory?.HEAPU8 instanceof Uint8Array))
      throw new TypeError("its functions are not where this version of it has them");
    return new ZstdCodec(functions, memory);
  } catch (error) {
    codec = undefined;
    throw new ByreError("INTERNAL", `The zstd decoder could not be started: ${error}`, {}, error);
  }
}

class ZstdCodec implements ClusterCodec {
  private readonly source: ZstdBuffer;
  private readonly target: ZstdBuffer;

  constructor(
    private readonly functions: ZstdFunctions,
    private readonly memory: ZstdMemory,
  ) {
    this.source = new ZstdBuffer(functions);
    this.target = new ZstdBuffer(functions);
  }

  decompress(input: Uint8Array, clusterSizeBytes: number): Uint8Array | undefined {
    const { functions, memory } = this;
    let target: number | undefined;
    let at = 0;
    let done = 0;
    for (let frames = 0; done < clusterSizeBytes; frames++) {
      const frame = frames < MAX_FRAMES ? parseZstdFrame(input, at) : undefined;
      if (!frame || (frame.contentBytes ?? 0) > clusterSizeBytes - done) return undefined;
      if (!frame.skippable && frame.contentBytes !== 0) {
        target ??= this.target.atLeast(clusterSizeBytes);
        const source = this.source.atLeast(frame.lengthBytes);
        memory.HEAPU8.set(input.subarray(at, at + frame.lengthBytes), source);
        const length = functions.decompress(
          target + done,
          clusterSizeBytes - done,
          source,
          frame.lengthBytes,
        );
        if (functions.isError(length)) return undefined;
        done += length;
      }
      at += frame.lengthBytes;
    }
    return target === undefined ? undefined : memory.HEAPU8.slice(target, target + clusterSizeBytes);
  }

  packedLength(input: Uint8Array, clusterSizeBytes: number): number | undefined {
    let at = 0;
    let done = 0;
    for (let frames = 0; done < clusterSizeBytes; frames++) {
      const frame = frames < MAX_FRAMES ? parseZstdFrame(input, at) : undefined;
      if (!frame) return undefined;
      at += frame.lengthBytes;
      // A frame that does not say what it holds may be the last: all of it is taken.
      if (frame.contentBytes === undefined) return input.length;
      done += frame.contentBytes;
    }
    return at;
  }

  compress(cluster: Uint8Array, level = DEFAULT_LEVEL): Uint8Array | undefined {
    const { functions, memory } = this;
    const source = this.source.atLeast(cluster.length);
    const capacity = functions.compressBound(cluster.length);
    const target = this.target.atLeast(capacity);
    memory.HEAPU8.set(cluster, source);
    const length = functions.compress(target, capacity, source, cluster.length, level);
    if (functions.isError(length) || length >= cluster.length) return undefined;
    return memory.HEAPU8.slice(target, target + length);
  }
}

/** A piece of the library's memory that is kept from call to call: at most a few MiB. */
class ZstdBuffer {
  private pointer = 0;
  private capacity = 0;

  constructor(private readonly functions: ZstdFunctions) {}

  /** Its address, once it has this many bytes; what it held is gone when it had to grow. */
  atLeast(lengthBytes: number): number {
    if (lengthBytes <= this.capacity) return this.pointer;
    if (this.pointer !== 0) this.functions.free(this.pointer);
    this.capacity = 0;
    this.pointer = this.functions.malloc(lengthBytes);
    if (this.pointer === 0)
      throw new ByreError("INTERNAL", `The zstd decoder has no memory for ${lengthBytes} bytes.`, {
        lengthBytes,
      });
    this.capacity = lengthBytes;
    return this.pointer;
  }
}
