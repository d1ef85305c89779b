import type { ChainLayer } from "./map-chain.ts";

/** How guest bytes are stored, as QEMU's block status says it. */
export interface ChainStatus {
  /** Bytes that share it. */
  readonly lengthBytes: number;
  readonly allocated: boolean;
  readonly zero: boolean;
  readonly data: boolean;
  /** Where the plain bytes stand in the layer's file. */
  readonly hostOffsetBytes: number | undefined;
  /** Which layer says so; 0 is the top. */
  readonly depth: number;
  /** Its file; undefined when no layer says anything. */
  readonly layer: ChainLayer | undefined;
}

/**
 * What one layer says, whether or not it is its own bytes.
 *
 * @param lengthBytes at least 1; the range is inside the disk.
 */
export async function layerStatus(
  layer: ChainLayer,
  behind: ChainLayer | undefined,
  depth: number,
  offsetBytes: number,
  lengthBytes: number,
): Promise<ChainStatus> {
  const about = { depth, layer };
  if (!layer.qcow2) {
    const { hole, lengthBytes: length } = layer.holes?.find(offsetBytes, lengthBytes) ?? {
      hole: false,
      lengthBytes,
    };
    return {
      ...about,
      lengthBytes: length,
      allocated: true,
      zero: hole,
      data: !hole,
      hostOffsetBytes: offsetBytes,
    };
  }
  const status = await layer.device.blockStatus(offsetBytes, lengthBytes);
  const { zero, data, hostOffsetBytes } = status;
  if (zero || data) {
    if (!layer.holes || !data || hostOffsetBytes === undefined)
      return { ...about, lengthBytes: status.lengthBytes, allocated: true, zero, data, hostOffsetBytes };
    const { hole, lengthBytes: length } = layer.holes.find(hostOffsetBytes, status.lengthBytes);
    return { ...about, lengthBytes: length, allocated: true, zero: hole, data, hostOffsetBytes };
  }
  // Without an image behind it, and past the end of a shorter one, what is not allocated is zeros.
  const isZero = !behind || offsetBytes >= behind.device.sizeBytes;
  return {
    ...about,
    lengthBytes: status.lengthBytes,
    allocated: false,
    zero: isZero,
    data: false,
    hostOffsetBytes,
  };
}

/**
 * What the first layer that has the bytes says of them.
 *
 * @param layers top first; the search ends before `base` of them.
 */
export async function statusAbove(
  layers: readonly ChainLayer[],
  offsetBytes: number,
  lengthBytes: number,
  base = layers.length,
): Promise<ChainStatus> {
  let length = lengthBytes;
  let status: ChainStatus | undefined;
  for (let depth = 0; depth < base; depth++) {
    const layer = layers[depth];
    if (!layer) break;
    if (depth > 0 && offsetBytes >= layer.device.sizeBytes)
      // The image above is longer: its zeros past the end of this one are as if allocated here.
      return {
        lengthBytes: length,
        allocated: true,
        zero: true,
        data: false,
        hostOffsetBytes: undefined,
        depth,
        layer,
      };
    const within = Math.min(length, layer.device.sizeBytes - offsetBytes);
    status = await layerStatus(layer, layers[depth + 1], depth, offsetBytes, within);
    if (status.allocated) return status;
    length = status.lengthBytes;
  }
  if (status) return status;
  return {
    lengthBytes: length,
    allocated: false,
    zero: false,
    data: false,
    hostOffsetBytes: undefined,
    depth: 0,
    layer: undefined,
  };
}
