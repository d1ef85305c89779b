import { ByreError } from "../errors.ts";
import type { ClusterCodec } from "../qcow2/compression.ts";
import type { Qcow2Image } from "../qcow2/image.ts";
import type { ClusterRun, PackedPlace } from "./export-view.ts";

/** Packed clusters kept between the two passes: those of most overlays, so that they are packed once. */
const KEPT_BYTES = 64 * 1024 * 1024;

/** Packs a cluster elsewhere. The same cluster must always be packed alike. */
export type PackCluster = (
  cluster: Uint8Array<ArrayBuffer>,
  compression: "zlib" | "zstd",
) => Promise<Uint8Array | undefined>;

/** Which clusters are packed, and how. */
export class ClusterPacker {
  readonly clusterSizeBytes: number;
  readonly compression: "zlib" | "zstd";
  private readonly codec: ClusterCodec;
  private readonly kept = new Map<string, Uint8Array>();
  private keptBytes = 0;

  constructor(
    { clusterSizeBytes, header, codec }: Qcow2Image,
    private readonly compress: boolean | undefined,
    private readonly packElsewhere: PackCluster | undefined,
  ) {
    this.clusterSizeBytes = clusterSizeBytes;
    this.compression = header.compressionType === 1 ? "zstd" : "zlib";
    this.codec = codec;
  }

  /** Whether data that is stored so now is to be packed, with the new image's compression type. */
  packs(kind: ClusterRun["kind"], isState: boolean): boolean {
    return this.compress === true || (kind === "packed" && (isState || this.compress === undefined));
  }

  /** Whether packed data can be taken over as it is. A state stays packed: only this program reads it. */
  takes({ image, entry }: PackedPlace, isState: boolean): boolean {
    return (
      (isState || this.compress !== false) &&
      entry.lengthBytes < this.clusterSizeBytes &&
      image.clusterSizeBytes === this.clusterSizeBytes &&
      (image.header.compressionType === 1 ? "zstd" : "zlib") === this.compression
    );
  }

  /** @returns the packed cluster; undefined when it would not be smaller. */
  async pack(cluster: Uint8Array<ArrayBuffer>): Promise<Uint8Array | undefined> {
    const packed = this.packElsewhere
      ? await this.packElsewhere(cluster, this.compression)
      : this.codec.compress(cluster);
    return packed && packed.length < this.clusterSizeBytes ? packed : undefined;
  }

  /**
   * Packed data as it is stored, without what else lay in its last sector: that is another's, or was once.
   *
   * @throws ByreError CORRUPT when it is damaged.
   */
  cleaned(packed: Uint8Array, { image, entry }: PackedPlace): Uint8Array {
    const lengthBytes = this.codec.packedLength(packed, this.clusterSizeBytes);
    if (lengthBytes !== undefined) return packed.subarray(0, lengthBytes);
    throw new ByreError(
      "CORRUPT",
      `${image.file.name}: the compressed data at ${entry.hostOffsetBytes} is damaged, so the image is not exported.`,
      { file: image.file.name, offsetBytes: entry.hostOffsetBytes },
    );
  }

  keep(viewIndex: number, cluster: number, packed: Uint8Array): void {
    if (this.keptBytes + packed.length > KEPT_BYTES) return;
    this.keptBytes += packed.length;
    this.kept.set(`${viewIndex}/${cluster}`, packed);
  }

  takeKept(viewIndex: number, cluster: number): Uint8Array | undefined {
    const key = `${viewIndex}/${cluster}`;
    const packed = this.kept.get(key);
    this.kept.delete(key);
    return packed;
  }
}
