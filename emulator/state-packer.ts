/** How the clusters of a state are packed: what the image says. */
export type CompressionType = "zlib" | "zstd";

/** A cluster to be packed. */
export interface PackRequest {
  /** Handed over: it comes back with the answer, and is not to be touched before. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Its fingerprint in the state before it. When it is the same nothing is packed. */
  readonly knownPrint?: string | undefined;
}

export interface PackedCluster {
  /** As it was given. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** See `fingerprint`. */
  readonly print: string;
  /** Absent when packing does not pay, or the cluster is known. */
  readonly packed?: Uint8Array | undefined;
}

/** Packs and unpacks the clusters of states, best away from the thread that the machine runs on. */
export interface StatePacker {
  /** How many requests are worth having under way at once. */
  readonly parallel: number;
  /** @param compressionType undefined: only fingerprints are wanted, nothing is packed. */
  pack(
    clusters: readonly PackRequest[],
    compressionType: CompressionType | undefined,
  ): Promise<PackedCluster[]>;
  /**
   * @returns the plain clusters, in the same order; undefined for one that is damaged.
   */
  unpack(
    packed: readonly Uint8Array[],
    clusterSizeBytes: number,
    compressionType: CompressionType,
  ): Promise<(Uint8Array | undefined)[]>;
  /** Ends its threads. */
  close(): void;
}
