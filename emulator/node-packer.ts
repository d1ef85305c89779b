import { availableParallelism } from "node:os";
import { promisify } from "node:util";
import { constants, deflateRaw, inflateRawSync } from "node:zlib";
import { fingerprint } from "./saved-clusters.ts";
import { COMPRESSION_LEVEL, directPacker, packCluster, type StatePacker } from "./state-packer.ts";

/** The window of the format; what the driver itself writes. */
const WINDOW_BITS = 12;

const deflate = promisify<Uint8Array, object, Uint8Array>(deflateRaw);

/**
 * A packer with Node's own zlib, which packs in threads of its own: 140 MB/s at two of them, where the driver's
 * codec makes 30. It unpacks 425 MB/s at once, 305 through its threads; so at once. zstd is left to the driver's.
 */
export const nodePacker: StatePacker = {
  parallel: Math.max(1, availableParallelism() - 1),
  async pack(clusters, type) {
    if (type === "zstd") return directPacker.pack(clusters, type);
    const options = { level: COMPRESSION_LEVEL, windowBits: WINDOW_BITS };
    return Promise.all(
      clusters.map((cluster) => packCluster(cluster, type && ((bytes) => deflate(bytes, options)))),
    );
  },
  async unpack(packed, clusterSizeBytes, type) {
    if (type === "zstd") return directPacker.unpack(packed, clusterSizeBytes, type);
    return packed.map((input) => {
      const bytes = inflate(input, clusterSizeBytes);
      return bytes && { bytes, print: fingerprint(bytes) };
    });
  },
  close() {
    // Node's threads are Node's.
  },
};

function inflate(input: Uint8Array, clusterSizeBytes: number): Uint8Array<ArrayBuffer> | undefined {
  try {
    // What follows the end of the packed data is not looked at; one byte more than a cluster is an error.
    const plain = inflateRawSync(input, {
      chunkSize: clusterSizeBytes + 1,
      maxOutputLength: clusterSizeBytes,
      finishFlush: constants.Z_SYNC_FLUSH,
    });
    if (plain.length !== clusterSizeBytes) return undefined;
    return new Uint8Array(plain.buffer as ArrayBuffer, plain.byteOffset, plain.length);
  } catch {
    return undefined;
  }
}
