import { ByreError, type ByreErrorCode, type ByreErrorData } from "../errors.ts";
import { type HeaderExtension, parseExtensions } from "./extensions.ts";
import {
  ENTRY_BYTES,
  ExtensionMagic,
  HeaderField,
  MAX_BACKING_FORMAT_BYTES,
  MAX_BACKING_NAME_BYTES,
  MAX_CLUSTER_BITS,
  MAX_L1_BYTES,
  MAX_REFCOUNT_ORDER,
  MAX_REFCOUNT_TABLE_BYTES,
  MAX_SNAPSHOTS,
  MIN_CLUSTER_BITS,
  QCOW2_MAGIC,
  V2_HEADER_BYTES,
  V3_HEADER_MIN_BYTES,
} from "./format.ts";
import { readU64, viewOf } from "./u64.ts";

/** A qcow2 header, parsed and held against the format's limits. Offsets and sizes in bytes. */
export interface Qcow2Header {
  readonly version: 2 | 3;
  readonly clusterBits: number;
  readonly clusterSizeBytes: number;
  /** Virtual size: what the guest sees. */
  readonly sizeBytes: number;
  readonly cryptMethod: number;
  readonly l1Entries: number;
  readonly l1OffsetBytes: number;
  readonly refcountTableOffsetBytes: number;
  readonly refcountTableClusters: number;
  readonly snapshotCount: number;
  readonly snapshotsOffsetBytes: number;
  /** Feature fields as bit sets of 64. */
  readonly incompatibleFeatures: bigint;
  readonly compatibleFeatures: bigint;
  readonly autoclearFeatures: bigint;
  readonly refcountOrder: number;
  readonly headerBytes: number;
  readonly compressionType: number;
  readonly backingName: string | undefined;
  readonly backingFormat: string | undefined;
  /** Every header extension, unknown ones included, in the file's order. */
  readonly extensions: readonly HeaderExtension[];
}

/** Whether the bytes begin as a qcow (any version) image does. */
export function hasQcow2Magic(bytes: Uint8Array): boolean {
  return bytes.length >= 4 && viewOf(bytes).getUint32(HeaderField.MAGIC) === QCOW2_MAGIC;
}

/**
 * Parses and validates the header, its extensions and the backing name.
 *
 * @param bytes the file from its start: the whole first cluster, or the whole file when that is shorter.
 * @param fileName for messages.
 * @throws ByreError NOT_QCOW2, UNSUPPORTED_VERSION, TRUNCATED, TOO_LARGE or CORRUPT, with field and offset.
 */
export function parseHeader(bytes: Uint8Array, fileName: string): Qcow2Header {
  const fail = (code: ByreErrorCode, what: string, data: ByreErrorData): never => {
    throw new ByreError(code, `${fileName}: ${what}`, { file: fileName, ...data });
  };
  if (!hasQcow2Magic(bytes))
    fail("NOT_QCOW2", "this is not a qcow2 image: it does not begin with the bytes QFI\\xfb.", {
      offsetBytes: 0,
    });
  if (bytes.length < V2_HEADER_BYTES)
    fail("TRUNCATED", `the file ends after ${bytes.length} bytes, inside its header.`, {
      offsetBytes: bytes.length,
    });

  const view = viewOf(bytes);
  const u32 = (offset: number) => view.getUint32(offset);
  const u64 = (offset: number, field: string): number => {
    const value = readU64(view, offset);
    if (value === undefined) {
      const text = `0x${view.getBigUint64(offset).toString(16)}`;
      const code = field === "virtual size" ? "TOO_LARGE" : "CORRUPT";
      return fail(code, `the ${field} at offset ${offset} is ${text}, more than 2^53 - 1.`, {
        offsetBytes: offset,
        field,
        value: text,
      });
    }
    return value;
  };
  const corrupt = (field: string, offset: number, value: number | string, expected: string): never =>
    fail("CORRUPT", `the ${field} at offset ${offset} is ${value}; ${expected}.`, {
      offsetBytes: offset,
      field,
      value,
    });

  const version = u32(HeaderField.VERSION);
  if (version !== 2 && version !== 3)
    return fail("UNSUPPORTED_VERSION", `this is qcow version ${version}; versions 2 and 3 are read.`, {
      offsetBytes: HeaderField.VERSION,
      version,
    });
  const clusterBits = u32(HeaderField.CLUSTER_BITS);
  if (clusterBits < MIN_CLUSTER_BITS || clusterBits > MAX_CLUSTER_BITS)
    corrupt("cluster_bits", HeaderField.CLUSTER_BITS, clusterBits, "9 to 21 is allowed");
  const clusterSizeBytes = 2 ** clusterBits;
  // Whole, since tables follow it; a shorter file has lost them.
  if (bytes.length < clusterSizeBytes)
    fail(
      "TRUNCATED",
      `the file ends after ${bytes.length} bytes, inside its first cluster of ${clusterSizeBytes}.`,
      {
        offsetBytes: bytes.length,
      },
    );

  const headerBytes = version === 2 ? V2_HEADER_BYTES : u32(HeaderField.HEADER_LENGTH);
  if (version === 3 && (headerBytes < V3_HEADER_MIN_BYTES || headerBytes > clusterSizeBytes))
    corrupt(
      "header_length",
      HeaderField.HEADER_LENGTH,
      headerBytes,
      `${V3_HEADER_MIN_BYTES} to the cluster size, ${clusterSizeBytes}, is allowed`,
    );

  const sizeBytes = u64(HeaderField.SIZE, "virtual size");
  const l1Entries = u32(HeaderField.L1_SIZE);
  const l1OffsetBytes = u64(HeaderField.L1_OFFSET, "l1_table_offset");
  const refcountTableOffsetBytes = u64(HeaderField.REFCOUNT_TABLE_OFFSET, "refcount_table_offset");
  const refcountTableClusters = u32(HeaderField.REFCOUNT_TABLE_CLUSTERS);
  const snapshotCount = u32(HeaderField.SNAPSHOT_COUNT);
  const snapshotsOffsetBytes = u64(HeaderField.SNAPSHOTS_OFFSET, "snapshots_offset");
  const refcountOrder = version === 2 ? 4 : u32(HeaderField.REFCOUNT_ORDER);
  if (refcountOrder > MAX_REFCOUNT_ORDER)
    corrupt("refcount_order", HeaderField.REFCOUNT_ORDER, refcountOrder, "0 to 6 is allowed");

  if (l1Entries * ENTRY_BYTES > MAX_L1_BYTES)
    fail("TOO_LARGE", `the L1 table has ${l1Entries} entries; at most 32 MiB of them are read.`, {
      offsetBytes: HeaderField.L1_SIZE,
      field: "l1_size",
      value: l1Entries,
    });
  const l1Reach = clusterSizeBytes * (clusterSizeBytes / ENTRY_BYTES);
  if (l1Entries < Math.ceil(sizeBytes / l1Reach))
    corrupt(
      "l1_size",
      HeaderField.L1_SIZE,
      l1Entries,
      `a virtual size of ${sizeBytes} bytes needs ${Math.ceil(sizeBytes / l1Reach)} entries`,
    );
  if (l1OffsetBytes % clusterSizeBytes !== 0 || (l1Entries > 0 && l1OffsetBytes === 0))
    corrupt("l1_table_offset", HeaderField.L1_OFFSET, l1OffsetBytes, "it must be a cluster's start, not 0");
  if (refcountTableOffsetBytes % clusterSizeBytes !== 0 || refcountTableOffsetBytes === 0)
    corrupt(
      "refcount_table_offset",
      HeaderField.REFCOUNT_TABLE_OFFSET,
      refcountTableOffsetBytes,
      "it must be a cluster's start, not 0",
    );
  if (
    refcountTableClusters === 0 ||
    refcountTableClusters * clusterSizeBytes > Math.max(MAX_REFCOUNT_TABLE_BYTES, clusterSizeBytes)
  )
    corrupt(
      "refcount_table_clusters",
      HeaderField.REFCOUNT_TABLE_CLUSTERS,
      refcountTableClusters,
      "at least 1 and at most 8 MiB of clusters is allowed",
    );
  if (snapshotCount > MAX_SNAPSHOTS)
    corrupt(
      "nb_snapshots",
      HeaderField.SNAPSHOT_COUNT,
      snapshotCount,
      `at most ${MAX_SNAPSHOTS} are allowed`,
    );
  if (snapshotsOffsetBytes % clusterSizeBytes !== 0 || (snapshotCount > 0 && snapshotsOffsetBytes === 0))
    corrupt(
      "snapshots_offset",
      HeaderField.SNAPSHOTS_OFFSET,
      snapshotsOffsetBytes,
      "it must be a cluster's start",
    );

  const backingOffset = u64(HeaderField.BACKING_OFFSET, "backing_file_offset");
  const backingSize = u32(HeaderField.BACKING_SIZE);
  let extensionsEnd = clusterSizeBytes;
  let backingName: string | undefined;
  if (backingOffset !== 0) {
    if (backingOffset < headerBytes || backingOffset > clusterSizeBytes)
      corrupt(
        "backing_file_offset",
        HeaderField.BACKING_OFFSET,
        backingOffset,
        "the name must lie in the first cluster after the header",
      );
    if (backingSize > Math.min(MAX_BACKING_NAME_BYTES, clusterSizeBytes - backingOffset))
      corrupt(
        "backing_file_size",
        HeaderField.BACKING_SIZE,
        backingSize,
        `at most ${MAX_BACKING_NAME_BYTES} bytes inside the first cluster are allowed`,
      );
    backingName = new TextDecoder().decode(bytes.subarray(backingOffset, backingOffset + backingSize));
    extensionsEnd = backingOffset;
  }
  const extensions = parseExtensions(bytes, headerBytes, extensionsEnd, fileName);
  const format = extensions.find((extension) => extension.magic === ExtensionMagic.BACKING_FORMAT);
  if (format && format.data.length > MAX_BACKING_FORMAT_BYTES)
    fail("CORRUPT", `the backing format's name has ${format.data.length} bytes; 15 are allowed.`, {
      field: "backing format",
      value: format.data.length,
    });

  return {
    version,
    clusterBits,
    clusterSizeBytes,
    sizeBytes,
    cryptMethod: u32(HeaderField.CRYPT_METHOD),
    l1Entries,
    l1OffsetBytes,
    refcountTableOffsetBytes,
    refcountTableClusters,
    snapshotCount,
    snapshotsOffsetBytes,
    incompatibleFeatures: version === 2 ? 0n : view.getBigUint64(HeaderField.INCOMPATIBLE_FEATURES),
    compatibleFeatures: version === 2 ? 0n : view.getBigUint64(HeaderField.COMPATIBLE_FEATURES),
    autoclearFeatures: version === 2 ? 0n : view.getBigUint64(HeaderField.AUTOCLEAR_FEATURES),
    refcountOrder,
    headerBytes,
    compressionType:
      version === 3 && headerBytes > HeaderField.COMPRESSION_TYPE
        ? (bytes[HeaderField.COMPRESSION_TYPE] ?? 0)
        : 0,
    backingName: backingName === "" ? undefined : backingName,
    backingFormat: format ? new TextDecoder().decode(format.data) : undefined,
    extensions,
  };
}

/** Whether a bit of a feature field is set. */
export function hasFeature(features: bigint, bit: number): boolean {
  return ((features >> BigInt(bit)) & 1n) === 1n;
}

/** Whether an incompatible feature bit is set. */
export function hasIncompatible(header: Qcow2Header, bit: number): boolean {
  return hasFeature(header.incompatibleFeatures, bit);
}
