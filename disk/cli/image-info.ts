import { statSync } from "node:fs";
import type { BlockFile } from "../block-file.ts";
import type { Qcow2Bitmap } from "../qcow2/bitmaps.ts";
import { AutoclearFeature, CompatibleFeature, ExtensionMagic, IncompatibleFeature } from "../qcow2/format.ts";
import type { Qcow2Header } from "../qcow2/header.ts";
import type { Qcow2Snapshot } from "../qcow2/snapshot-table.ts";
import type { FileSpec } from "./image-spec.ts";

/** What `info` says of an image, by the keys of QEMU's JSON. Sizes in bytes. */
export interface ImageInfo {
  readonly snapshots?: readonly SnapshotInfo[];
  readonly "backing-filename-format"?: string;
  readonly "virtual-size": number;
  readonly filename: string;
  readonly "cluster-size"?: number;
  readonly format: string;
  readonly "actual-size"?: number;
  readonly "format-specific"?: { readonly type: "qcow2"; readonly data: FormatSpecific };
  readonly "full-backing-filename"?: string;
  readonly "backing-filename"?: string;
  readonly encrypted?: true;
  readonly "dirty-flag": boolean;
}

export interface SnapshotInfo {
  readonly icount?: bigint;
  readonly "vm-clock-nsec": number;
  readonly name: string;
  readonly "date-sec": number;
  readonly "date-nsec": number;
  readonly "vm-clock-sec": number;
  readonly id: string;
  readonly "vm-state-size": number;
}

export interface BitmapInfo {
  readonly flags: readonly string[];
  readonly name: string;
  readonly granularity: number;
}

/** What only qcow2 has to say. */
export interface FormatSpecific {
  readonly compat: "0.10" | "1.1";
  readonly "compression-type": "zlib" | "zstd";
  readonly "lazy-refcounts"?: boolean;
  readonly bitmaps?: readonly BitmapInfo[];
  readonly "refcount-bits": number;
  readonly encrypt?: { readonly format: "aes" | "luks" };
  readonly "data-file"?: string;
  readonly "data-file-raw"?: boolean;
  readonly corrupt?: boolean;
  readonly "extended-l2"?: boolean;
}

export interface Qcow2Parts {
  readonly header: Qcow2Header;
  readonly snapshots: readonly Qcow2Snapshot[];
  readonly bitmaps: readonly BitmapInfo[];
  /** The name its backing file would be opened by; undefined when that cannot be said. */
  readonly backingPath: string | undefined;
}

/** What a qcow2 image's own tables say. */
export function qcow2ImageInfo(spec: FileSpec, filename: string, parts: Qcow2Parts): ImageInfo {
  const { header, snapshots, backingPath } = parts;
  const actualBytes = actualSize(spec);
  return {
    ...(snapshots.length > 0 && { snapshots: snapshots.map(snapshotInfo) }),
    ...(header.backingName !== undefined &&
      header.backingFormat !== undefined && { "backing-filename-format": header.backingFormat }),
    "virtual-size": header.sizeBytes,
    filename,
    "cluster-size": header.clusterSizeBytes,
    format: "qcow2",
    ...(actualBytes !== undefined && { "actual-size": actualBytes }),
    "format-specific": { type: "qcow2", data: formatSpecific(parts) },
    ...(backingPath !== undefined && { "full-backing-filename": backingPath }),
    ...(header.backingName !== undefined && { "backing-filename": header.backingName }),
    ...(header.cryptMethod !== 0 && { encrypted: true }),
    "dirty-flag": hasBit(header.incompatibleFeatures, IncompatibleFeature.DIRTY),
  };
}

export function rawImageInfo(spec: FileSpec, filename: string, file: BlockFile): ImageInfo {
  const actualBytes = actualSize(spec);
  return {
    // QEMU counts whole sectors; what is missing of the last reads as zeros.
    "virtual-size": Math.ceil(file.sizeBytes / 512) * 512,
    filename,
    format: "raw",
    ...(actualBytes !== undefined && { "actual-size": actualBytes }),
    "dirty-flag": false,
  };
}

function formatSpecific({ header, bitmaps }: Qcow2Parts): FormatSpecific {
  const first = {
    compat: header.version === 2 ? "0.10" : "1.1",
    "compression-type": header.compressionType === 1 ? "zstd" : "zlib",
  } as const;
  const refcountBits = 2 ** header.refcountOrder;
  const crypt = { 1: "aes", 2: "luks" } as const;
  const format = header.cryptMethod === 1 || header.cryptMethod === 2 ? crypt[header.cryptMethod] : undefined;
  const encrypt = format && { encrypt: { format } };
  if (header.version === 2) return { ...first, "refcount-bits": refcountBits, ...encrypt };
  const dataFile = header.extensions.find((extension) => extension.magic === ExtensionMagic.DATA_FILE);
  return {
    ...first,
    "lazy-refcounts": hasBit(header.compatibleFeatures, CompatibleFeature.LAZY_REFCOUNTS),
    ...(bitmaps.length > 0 && { bitmaps }),
    "refcount-bits": refcountBits,
    ...encrypt,
    ...(dataFile && { "data-file": new TextDecoder().decode(dataFile.data) }),
    ...(hasBit(header.incompatibleFeatures, IncompatibleFeature.EXTERNAL_DATA_FILE) && {
      "data-file-raw": hasBit(header.autoclearFeatures, AutoclearFeature.RAW_EXTERNAL_DATA),
    }),
    corrupt: hasBit(header.incompatibleFeatures, IncompatibleFeature.CORRUPT),
    "extended-l2": hasBit(header.incompatibleFeatures, IncompatibleFeature.EXTENDED_L2),
  };
}

function snapshotInfo(snapshot: Qcow2Snapshot): SnapshotInfo {
  return {
    ...(snapshot.icount !== undefined && { icount: BigInt.asIntN(64, snapshot.icount) }),
    "vm-clock-nsec": Number(snapshot.vmClockNanoseconds % 1_000_000_000n),
    name: snapshot.name,
    "date-sec": snapshot.dateSeconds,
    "date-nsec": snapshot.dateNanoseconds,
    "vm-clock-sec": Number(snapshot.vmClockNanoseconds / 1_000_000_000n),
    id: snapshot.id,
    "vm-state-size": snapshot.vmStateBytes,
  };
}

export function bitmapInfo(bitmap: Qcow2Bitmap): BitmapInfo {
  const flags = [...(bitmap.inUse ? ["in-use"] : []), ...(bitmap.auto ? ["auto"] : [])];
  return { flags, name: bitmap.name, granularity: bitmap.granularityBytes };
}

/** What a file takes on its disk; holes take nothing. */
function actualSize(spec: FileSpec): number | undefined {
  if (spec.kind === "slice") return actualSize(spec.file);
  if (spec.kind !== "path") return undefined;
  const stats = statSync(spec.path, { throwIfNoEntry: false });
  return stats && stats.blocks * 512;
}

function hasBit(features: bigint, bit: number): boolean {
  return ((features >> BigInt(bit)) & 1n) === 1n;
}
