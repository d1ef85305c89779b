import { type ClusterCodec, loadCodec, nextTurn } from "../disk/index.ts";
import { fingerprint, type Print, samePrint } from "./saved-clusters.ts";

/** How the clusters of a state are packed: what the image says. */
export type CompressionType = "zlib" | "zstd";

/** A cluster to be packed. */
export interface PackRequest {
  /** Handed over: it comes back with the answer, and is not to be touched before. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Its fingerprint in the state before it. When it is still the same nothing is packed. */
  readonly knownPrint?: Print | undefined;
}

export interface PackedCluster {
  /** As it was given. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly print: Print;
  /** Absent when packing does not pay, or the cluster is known. */
  readonly packed?: Uint8Array<ArrayBuffer> | undefined;
}

/** An unpacked cluster and its fingerprint. */
export interface PlainCluster {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly print: Print;
}

/** Packs and unpacks the clusters of states, best away from the thread that the machine runs on. */
export interface StatePacker {
  /** How many `pack` calls are worth having under way at once. */
  readonly parallel: number;
  /** @param type undefined: only fingerprints are wanted, nothing is packed. */
  pack(clusters: readonly PackRequest[], type: CompressionType | undefined): Promise<PackedCluster[]>;
  /** @returns the plain clusters, in the same order; undefined for one that is damaged. */
  unpack(
    packed: readonly Uint8Array<ArrayBuffer>[],
    clusterSizeBytes: number,
    type: CompressionType,
  ): Promise<(PlainCluster | undefined)[]>;
  /** Ends its threads. */
  close(): void;
}

/** zlib's and zstd's fastest: a state is written while the guest waits for the processor. */
export const COMPRESSION_LEVEL = 1;
/** A cluster is kept plain when packing it saves less than this part of it. */
const LEAST_SAVING = 1 / 16;

/** Packs one cluster: what every packer does, wherever it runs. */
export async function packCluster(
  { bytes, knownPrint }: PackRequest,
  compress: ((bytes: Uint8Array) => Promise<Uint8Array | undefined> | Uint8Array | undefined) | undefined,
): Promise<PackedCluster> {
  const print = fingerprint(bytes);
  if (!compress || samePrint(print, knownPrint)) return { bytes, print };
  const packed = await compress(bytes);
  const pays = packed !== undefined && packed.length < bytes.length * (1 - LEAST_SAVING);
  return pays ? { bytes, print, packed: packed as Uint8Array<ArrayBuffer> } : { bytes, print };
}

/** A packer on the thread it is called on. */
export const directPacker: StatePacker = {
  parallel: 1,
  async pack(clusters, type) {
    const codec = type && (await loadCodec(type));
    const done: PackedCluster[] = [];
    for (const cluster of clusters) {
      // A cluster a turn: packing 64 KiB takes 2 ms.
      await nextTurn();
      done.push(await packCluster(cluster, codec && ((bytes) => codec.compress(bytes, COMPRESSION_LEVEL))));
    }
    return done;
  },
  async unpack(packed, clusterSizeBytes, type) {
    const codec = await loadCodec(type);
    const done: (PlainCluster | undefined)[] = [];
    for (const bytes of packed) {
      await nextTurn();
      done.push(unpackCluster(codec, bytes, clusterSizeBytes));
    }
    return done;
  },
  close() {
    // Nothing is its own.
  },
};

export function unpackCluster(
  codec: ClusterCodec,
  packed: Uint8Array,
  clusterSizeBytes: number,
): PlainCluster | undefined {
  const bytes = codec.decompress(packed, clusterSizeBytes) as Uint8Array<ArrayBuffer> | undefined;
  return bytes && { bytes, print: fingerprint(bytes) };
}
