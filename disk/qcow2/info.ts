import { CompatibleFeature, IncompatibleFeature } from "./format.ts";
import { hasFeature, hasIncompatible, type Qcow2Header } from "./header.ts";

/** What a qcow2 header says of its image, for people and for the code above. Sizes in bytes. */
export interface Qcow2Info {
  readonly version: 2 | 3;
  readonly sizeBytes: number;
  readonly clusterSizeBytes: number;
  readonly refcountBits: number;
  readonly compression: "zlib" | "zstd";
  readonly encryption: "none" | "aes" | "luks";
  readonly extendedL2: boolean;
  readonly lazyRefcounts: boolean;
  readonly dirty: boolean;
  readonly corrupt: boolean;
  readonly snapshotCount: number;
  readonly backingName: string | undefined;
  readonly backingFormat: string | undefined;
}

export function describeImage(header: Qcow2Header): Qcow2Info {
  const incompatible = (bit: number) => hasIncompatible(header, bit);
  return {
    version: header.version,
    sizeBytes: header.sizeBytes,
    clusterSizeBytes: header.clusterSizeBytes,
    refcountBits: 2 ** header.refcountOrder,
    compression: header.compressionType === 1 ? "zstd" : "zlib",
    encryption: (["none", "aes", "luks"] as const)[header.cryptMethod] ?? "none",
    extendedL2: incompatible(IncompatibleFeature.EXTENDED_L2),
    lazyRefcounts: hasFeature(header.compatibleFeatures, CompatibleFeature.LAZY_REFCOUNTS),
    dirty: incompatible(IncompatibleFeature.DIRTY),
    corrupt: incompatible(IncompatibleFeature.CORRUPT),
    snapshotCount: header.snapshotCount,
    backingName: header.backingName,
    backingFormat: header.backingFormat,
  };
}
