import type { BlockFile } from "../block-file.ts";
import { ByreError, type ByreErrorCode } from "../errors.ts";
import { type BitmapDirectory, findBitmapDirectory, type Qcow2Bitmap, readBitmaps } from "./bitmaps.ts";
import { featureName } from "./extensions.ts";
import {
  ENTRY_BYTES,
  ExtensionMagic,
  FeatureType,
  HeaderField,
  IncompatibleFeature,
  MAX_CLUSTER_BITS,
  MAX_REFCOUNT_TABLE_BYTES,
  MIN_CLUSTER_BITS,
  MIN_EXTENDED_CLUSTER_BITS,
  SECTOR_BYTES,
} from "./format.ts";
import { hasIncompatible, hasQcow2Magic, parseHeader, type Qcow2Header } from "./header.ts";
import { viewOf } from "./u64.ts";

/**
 * An image as a check sees it: opened in spite of damage that a device refuses. Offsets of tables are as
 * they stand in the file: aligned, but perhaps past its end, where a file reads as zeros.
 */
export interface CheckedImage {
  readonly file: BlockFile;
  /** Everything but the places of the tables, which are below. */
  readonly header: Qcow2Header;
  readonly clusterBits: number;
  readonly clusterSizeBytes: number;
  /** Bytes of an L2 entry: 16 with extended L2 entries. */
  readonly l2EntryBytes: 8 | 16;
  readonly l1OffsetBytes: number;
  readonly l1Entries: number;
  /** Content of the refcount table; may be empty. */
  refcountTable: DataView;
  refcountTableOffsetBytes: number;
  snapshotsOffsetBytes: number;
  snapshotCount: number;
  /** Clusters of an encryption header. */
  readonly encryptionHeader: { readonly offsetBytes: number; readonly lengthBytes: number } | undefined;
  readonly bitmapDirectory: BitmapDirectory | undefined;
  readonly bitmaps: readonly Qcow2Bitmap[];
}

const TWO_32 = 2 ** 32;
/** QEMU reads no file past this (2^63 - 2^30). */
export const MAX_FILE_BYTES = 2 ** 63 - 2 ** 30;

/**
 * Opens an image for a check. Nothing is refused that QEMU's check opens, but for an external data file.
 *
 * @param file stays the caller's.
 * @throws ByreError what the header's fields ask for (NOT_QCOW2, CORRUPT, TOO_LARGE ...), UNSUPPORTED_FEATURE,
 *   EXTERNAL_DATA_FILE; CORRUPT for damaged bitmaps.
 */
export async function openForCheck(file: BlockFile): Promise<CheckedImage> {
  const bytes = await readFirstCluster(file);
  const view = viewOf(bytes);
  const header = parseLeniently(bytes, file.name);
  checkUnderstood(header, file.name);
  const { clusterSizeBytes } = header;
  const corrupt = (field: string, offset: number, value: number | string, expected: string) =>
    new ByreError("CORRUPT", `${file.name}: the ${field} at offset ${offset} is ${value}; ${expected}.`, {
      file: file.name,
      offsetBytes: offset,
      field,
      value,
    });
  const tableOffset = (field: string, at: number, lengthBytes: number): number => {
    const value = view.getUint32(at) * TWO_32 + view.getUint32(at + 4);
    if (view.getUint32(at + 4) % clusterSizeBytes !== 0 || value + lengthBytes > MAX_FILE_BYTES)
      throw corrupt(field, at, `0x${view.getBigUint64(at).toString(16)}`, "it must be a cluster's start");
    return value;
  };

  const tableClusters = view.getUint32(HeaderField.REFCOUNT_TABLE_CLUSTERS);
  const tableBytes = tableClusters * clusterSizeBytes;
  if (tableBytes > MAX_REFCOUNT_TABLE_BYTES)
    throw corrupt(
      "refcount_table_clusters",
      HeaderField.REFCOUNT_TABLE_CLUSTERS,
      tableClusters,
      "at most 8 MiB of clusters is allowed",
    );
  const refcountTableOffsetBytes = tableOffset(
    "refcount_table_offset",
    HeaderField.REFCOUNT_TABLE_OFFSET,
    tableBytes,
  );
  const l1OffsetBytes = tableOffset("l1_table_offset", HeaderField.L1_OFFSET, header.l1Entries * ENTRY_BYTES);
  const refcountTable = new Uint8Array(tableBytes);
  await readPadded(file, refcountTableOffsetBytes, refcountTable);
  const l2EntryBytes = hasIncompatible(header, IncompatibleFeature.EXTENDED_L2) ? 16 : 8;
  const l1Needed = Math.ceil(header.sizeBytes / (clusterSizeBytes * (clusterSizeBytes / l2EntryBytes)));
  if (header.l1Entries < l1Needed)
    throw corrupt(
      "l1_size",
      HeaderField.L1_SIZE,
      header.l1Entries,
      `a virtual size of ${header.sizeBytes} bytes needs ${l1Needed} entries`,
    );
  return {
    file,
    header,
    clusterBits: header.clusterBits,
    clusterSizeBytes,
    l2EntryBytes,
    l1OffsetBytes,
    l1Entries: header.l1Entries,
    refcountTable: viewOf(refcountTable),
    refcountTableOffsetBytes,
    snapshotsOffsetBytes: snapshotsOffset(view, clusterSizeBytes),
    snapshotCount: view.getUint32(HeaderField.SNAPSHOT_COUNT),
    encryptionHeader: findEncryptionHeader(header, file.name),
    bitmapDirectory: findBitmapDirectory(header, file.name),
    bitmaps: await readBitmaps(file, header),
  };
}

/**
 * Not held against anything: a damaged snapshot table is what a check is to find. A misplaced one stays so in
 * a plain number, whose low bits are lost past 2^53.
 */
function snapshotsOffset(view: DataView, clusterSizeBytes: number): number {
  const lo = view.getUint32(HeaderField.SNAPSHOTS_OFFSET + 4);
  return lo % clusterSizeBytes === 0 ? view.getUint32(HeaderField.SNAPSHOTS_OFFSET) * TWO_32 + lo : lo;
}

/** Length of the file as QEMU counts it: in whole sectors. */
export function fileBytes(image: CheckedImage): number {
  return Math.ceil(image.file.sizeBytes / SECTOR_BYTES) * SECTOR_BYTES;
}

/** Reads what the file has of a range; the rest, past its end, is zeros. */
export async function readPadded(file: BlockFile, offsetBytes: number, target: Uint8Array): Promise<void> {
  const available = Math.max(0, Math.min(target.length, file.sizeBytes - offsetBytes));
  target.fill(0, available);
  if (available === 0) return;
  const part = available === target.length ? target : target.subarray(0, available);
  if (!file.readNow(offsetBytes, part)) await file.read(offsetBytes, part);
}

/** The first cluster, filled up with zeros where the file is shorter. */
async function readFirstCluster(file: BlockFile): Promise<Uint8Array> {
  const first = new Uint8Array(SECTOR_BYTES);
  await readPadded(file, 0, first);
  if (!hasQcow2Magic(first)) return first.subarray(0, Math.min(SECTOR_BYTES, file.sizeBytes));
  const bits = Math.min(
    MAX_CLUSTER_BITS,
    Math.max(MIN_CLUSTER_BITS, viewOf(first).getUint32(HeaderField.CLUSTER_BITS)),
  );
  const bytes = new Uint8Array(2 ** bits);
  await readPadded(file, 0, bytes);
  return bytes;
}

/** Parses the header with sound places in the stead of those that a repair can mend. */
function parseLeniently(bytes: Uint8Array, fileName: string): Qcow2Header {
  if (bytes.length < SECTOR_BYTES) return parseHeader(bytes, fileName);
  const copy = bytes.slice();
  const view = viewOf(copy);
  const place = (at: number) => {
    view.setUint32(at, 0);
    view.setUint32(at + 4, copy.length);
  };
  place(HeaderField.L1_OFFSET);
  place(HeaderField.REFCOUNT_TABLE_OFFSET);
  view.setUint32(HeaderField.REFCOUNT_TABLE_CLUSTERS, 1);
  view.setUint32(HeaderField.SNAPSHOT_COUNT, 0);
  place(HeaderField.SNAPSHOTS_OFFSET);
  return parseHeader(copy, fileName);
}

/** Refuses an image whose clusters may be counted by rules that are not known here. */
function checkUnderstood(header: Qcow2Header, fileName: string): void {
  const refuse = (code: ByreErrorCode, what: string): never => {
    throw new ByreError(code, `${fileName} ${what}.`, { file: fileName });
  };
  const known = Object.values(IncompatibleFeature).reduce<bigint>(
    (bits, bit) => bits | (1n << BigInt(bit)),
    0n,
  );
  const unknown = header.incompatibleFeatures & ~known;
  if (unknown !== 0n) {
    const names: string[] = [];
    for (let bit = 0; bit < 64; bit++)
      if ((unknown >> BigInt(bit)) & 1n)
        names.push(
          featureName(header.extensions, FeatureType.INCOMPATIBLE, bit) ?? `incompatible bit ${bit}`,
        );
    refuse("UNSUPPORTED_FEATURE", `needs a feature that is not known here: ${names.join(", ")}`);
  }
  if (hasIncompatible(header, IncompatibleFeature.EXTERNAL_DATA_FILE))
    refuse(
      "EXTERNAL_DATA_FILE",
      "keeps its data in an external file, which is never opened here; check it with qemu-img",
    );
  if (hasIncompatible(header, IncompatibleFeature.COMPRESSION_TYPE) !== (header.compressionType !== 0))
    refuse(
      "CORRUPT",
      `has compression type ${header.compressionType}, which does not agree with its feature bit 3 (offset 104)`,
    );
  if (header.compressionType > 1)
    refuse("UNSUPPORTED_FEATURE", `has compression type ${header.compressionType}, which is not known here`);
  if (
    hasIncompatible(header, IncompatibleFeature.EXTENDED_L2) &&
    header.clusterBits < MIN_EXTENDED_CLUSTER_BITS
  )
    refuse("CORRUPT", `has extended L2 entries with clusters of ${header.clusterSizeBytes} bytes`);
}

const LUKS = 2;
const ENCRYPTION_EXTENSION_BYTES = 16;

function findEncryptionHeader(
  header: Qcow2Header,
  fileName: string,
): { offsetBytes: number; lengthBytes: number } | undefined {
  const extension = header.extensions.findLast(({ magic }) => magic === ExtensionMagic.LUKS);
  if (!extension) return undefined;
  const view = viewOf(extension.data);
  if (
    header.cryptMethod !== LUKS ||
    extension.data.length !== ENCRYPTION_EXTENSION_BYTES ||
    view.getUint32(4) % header.clusterSizeBytes !== 0
  )
    throw new ByreError(
      "CORRUPT",
      `${fileName}: the header extension for encryption has ${extension.data.length} bytes, with crypt_method ` +
        `${header.cryptMethod}; it belongs to LUKS (2), has ${ENCRYPTION_EXTENSION_BYTES} bytes and points to a cluster's start.`,
      { file: fileName, lengthBytes: extension.data.length, cryptMethod: header.cryptMethod },
    );
  return {
    offsetBytes: view.getUint32(0) * TWO_32 + view.getUint32(4),
    lengthBytes: view.getUint32(8) * TWO_32 + view.getUint32(12),
  };
}
