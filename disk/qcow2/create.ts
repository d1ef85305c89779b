import { type BlockFile, WriteStage } from "../block-file.ts";
import { ByreError } from "../errors.ts";
import { zlibCodec } from "./compression.ts";
import { assembleCore } from "./core.ts";
import { encodeExtensions, featureNameTable, type HeaderExtension } from "./extensions.ts";
import {
  CryptMethod,
  ENTRY_BYTES,
  ExtensionMagic,
  HeaderField,
  IncompatibleFeature,
  MAX_BACKING_FORMAT_BYTES,
  MAX_BACKING_NAME_BYTES,
  MAX_CLUSTER_BITS,
  MAX_L1_BYTES,
  MIN_CLUSTER_BITS,
  MIN_EXTENDED_CLUSTER_BITS,
  QCOW2_MAGIC,
  V2_HEADER_BYTES,
  V3_HEADER_BYTES,
} from "./format.ts";
import { parseHeader } from "./header.ts";
import { Qcow2Image } from "./image.ts";
import { openCipher } from "./open-cipher.ts";
import { preallocate } from "./preallocate.ts";
import { writeRefcount } from "./refcount-entry.ts";
import { fitRefcounts, isTableTooLong } from "./refcount-layout.ts";
import { viewOf, writeU64 } from "./u64.ts";

/** What a new image is to be. */
export interface CreateQcow2Options {
  /** Virtual size in bytes; a multiple of 512. */
  sizeBytes: number;
  /** Default 3. */
  version?: 2 | 3;
  /** A power of two from 512 bytes to 2 MiB. Default 64 KiB. */
  clusterSizeBytes?: number;
  /** 1, 2, 4, 8, 16, 32 or 64; version 2 has 16 only. Default 16. */
  refcountBits?: number;
  /** How compressed clusters are packed. Default zlib; zstd needs version 3. */
  compression?: "zlib" | "zstd";
  /** L2 entries with 32 subclusters each: version 3, clusters of at least 16 KiB. Default false. */
  extendedL2?: boolean;
  /** Says that programs may postpone refcounts (this driver never does). Version 3. Default false. */
  lazyRefcounts?: boolean;
  /**
   * Room for the whole disk at once: "metadata" makes tables and reserves clusters, "falloc" and "full" write
   * zeros to them too. Default "off".
   */
  preallocation?: "off" | "metadata" | "falloc" | "full";
  /** Legacy AES: weak, for tools that need it. The header does not hold the password. */
  encryption?: { password: string | Uint8Array };
  /** The image that unallocated clusters read from. Only named here, never opened. */
  backing?: { name: string; format: string };
  /** Further header extensions, such as what the image says of itself. */
  extensions?: readonly HeaderExtension[];
}

/**
 * Makes an empty qcow2 image in an empty file, and flushes it.
 *
 * @param file writable and of length 0; stays the caller's.
 * @throws ByreError INVALID_ARGUMENT or TOO_LARGE, before anything is written; what the flush meets.
 */
export async function createQcow2(file: BlockFile, options: CreateQcow2Options): Promise<void> {
  if (file.sizeBytes !== 0)
    throw new ByreError("INVALID_ARGUMENT", `${file.name} is not empty: an image is made in an empty file.`, {
      file: file.name,
      sizeBytes: file.sizeBytes,
    });
  const bytes = layOut(options, file.name);
  file.truncate(bytes.sizeBytes);
  file.write(bytes.clusterSizeBytes, bytes.tables, WriteStage.DATA);
  file.write(0, bytes.header, WriteStage.HEADER);
  await file.flush();
  if (options.preallocation !== undefined && options.preallocation !== "off")
    await giveRoom(file, bytes, options);
}

/** Preallocates the whole disk of an image just made. */
async function giveRoom(
  file: BlockFile,
  made: { header: Uint8Array; tables: Uint8Array },
  options: CreateQcow2Options,
): Promise<void> {
  const header = parseHeader(made.header, file.name);
  const tableBytes = header.refcountTableClusters * header.clusterSizeBytes;
  const password = options.encryption?.password;
  const image = new Qcow2Image({
    file,
    header,
    l1: new Uint8Array(header.l1Entries * ENTRY_BYTES),
    refcountTable: made.tables.slice(0, tableBytes),
    snapshots: [],
    snapshotTableBytes: 0,
    codec: zlibCodec,
    cipher: password === undefined ? undefined : await openCipher(password),
  });
  const core = assembleCore(
    image,
    undefined,
    async () => {},
    () => file.flush(),
  );
  await preallocate(core, 0, header.sizeBytes, options.preallocation !== "metadata");
  await file.flush();
}

/** The first clusters of an image: header, refcount table, refcount blocks; then an L1 table of zeros. */
function layOut(
  options: CreateQcow2Options,
  fileName: string,
): { header: Uint8Array; tables: Uint8Array; clusterSizeBytes: number; sizeBytes: number } {
  const { sizeBytes, version = 3, clusterSizeBytes = 65536, refcountBits = 16 } = options;
  const { extendedL2 = false, lazyRefcounts = false, compression = "zlib" } = options;
  const invalid = (what: string): never => {
    throw new ByreError("INVALID_ARGUMENT", `${fileName}: ${what}`, { file: fileName });
  };
  if (!Number.isSafeInteger(sizeBytes) || sizeBytes < 0 || sizeBytes % 512 !== 0)
    invalid(`a disk of ${sizeBytes} bytes cannot be made: its size must be a multiple of 512.`);
  const clusterBits = Math.log2(clusterSizeBytes);
  if (!Number.isInteger(clusterBits) || clusterBits < MIN_CLUSTER_BITS || clusterBits > MAX_CLUSTER_BITS)
    invalid(`the cluster size ${clusterSizeBytes} is not a power of two from 512 to 2097152.`);
  const refcountOrder = Math.log2(refcountBits);
  if (!Number.isInteger(refcountOrder) || refcountOrder < 0 || refcountOrder > 6)
    invalid(`a refcount width of ${refcountBits} bits is not one of 1, 2, 4, 8, 16, 32, 64.`);
  if (version === 2 && refcountBits !== 16) invalid("version 2 has refcounts of 16 bits only.");

  if (version === 2 && (extendedL2 || lazyRefcounts || compression !== "zlib"))
    invalid("version 2 has no extended L2 entries, no lazy refcounts and no zstd: make it version 3.");
  if (extendedL2 && clusterBits < MIN_EXTENDED_CLUSTER_BITS)
    invalid("extended L2 entries need clusters of at least 16384 bytes.");

  const entryBytes = extendedL2 ? 2 * ENTRY_BYTES : ENTRY_BYTES;
  const l1Entries = Math.ceil(sizeBytes / (clusterSizeBytes * (clusterSizeBytes / entryBytes)));
  if (l1Entries * ENTRY_BYTES > MAX_L1_BYTES)
    throw new ByreError(
      "TOO_LARGE",
      `${fileName}: a disk of ${sizeBytes} bytes is too large for clusters of ${clusterSizeBytes} bytes. ` +
        "Use larger clusters.",
      { file: fileName, sizeBytes, clusterSizeBytes },
    );
  const l1Clusters = Math.ceil((l1Entries * ENTRY_BYTES) / clusterSizeBytes);
  const countsPerBlock = (clusterSizeBytes * 8) / refcountBits;
  const { blocks, tableClusters } = fitRefcounts(1 + l1Clusters, { clusterSizeBytes, countsPerBlock });
  if (isTableTooLong(tableClusters, clusterSizeBytes))
    throw new ByreError("TOO_LARGE", `${fileName}: the refcount table would be larger than 8 MiB.`, {
      file: fileName,
      sizeBytes,
      clusterSizeBytes,
    });
  const usedClusters = 1 + tableClusters + blocks + l1Clusters;

  // The part between header and L1 table; the L1 table is a hole, which reads as zeros.
  const tables = new Uint8Array((tableClusters + blocks) * clusterSizeBytes);
  const blocksAt = tableClusters * clusterSizeBytes;
  for (let block = 0; block < blocks; block++) {
    const offsetBytes = clusterSizeBytes + blocksAt + block * clusterSizeBytes;
    writeU64(viewOf(tables), block * ENTRY_BYTES, offsetBytes);
  }
  for (let index = 0; index < usedClusters; index++) {
    const blockAt = blocksAt + Math.floor(index / countsPerBlock) * clusterSizeBytes;
    writeRefcount(
      tables.subarray(blockAt, blockAt + clusterSizeBytes),
      index % countsPerBlock,
      refcountOrder,
      1,
    );
  }

  const header = new Uint8Array(clusterSizeBytes);
  const view = viewOf(header);
  view.setUint32(HeaderField.MAGIC, QCOW2_MAGIC);
  view.setUint32(HeaderField.VERSION, version);
  view.setUint32(HeaderField.CLUSTER_BITS, clusterBits);
  writeU64(view, HeaderField.SIZE, sizeBytes);
  view.setUint32(HeaderField.L1_SIZE, l1Entries);
  writeU64(view, HeaderField.L1_OFFSET, (1 + tableClusters + blocks) * clusterSizeBytes);
  writeU64(view, HeaderField.REFCOUNT_TABLE_OFFSET, clusterSizeBytes);
  view.setUint32(HeaderField.REFCOUNT_TABLE_CLUSTERS, tableClusters);
  const headerBytes = version === 2 ? V2_HEADER_BYTES : V3_HEADER_BYTES;
  if (version === 3) {
    view.setUint32(HeaderField.REFCOUNT_ORDER, refcountOrder);
    view.setUint32(HeaderField.HEADER_LENGTH, headerBytes);
    const incompatible =
      (compression === "zstd" ? 1 << IncompatibleFeature.COMPRESSION_TYPE : 0) |
      (extendedL2 ? 1 << IncompatibleFeature.EXTENDED_L2 : 0);
    view.setBigUint64(HeaderField.INCOMPATIBLE_FEATURES, BigInt(incompatible));
    view.setBigUint64(HeaderField.COMPATIBLE_FEATURES, lazyRefcounts ? 1n : 0n);
    view.setUint8(HeaderField.COMPRESSION_TYPE, compression === "zstd" ? 1 : 0);
  }
  if (options.encryption) view.setUint32(HeaderField.CRYPT_METHOD, CryptMethod.AES);
  putExtensions(header, headerBytes, version, options, invalid);
  return { header, tables, clusterSizeBytes, sizeBytes: usedClusters * clusterSizeBytes };
}

function putExtensions(
  header: Uint8Array,
  headerBytes: number,
  version: 2 | 3,
  { backing, extensions: further = [] }: CreateQcow2Options,
  invalid: (what: string) => never,
): void {
  const wanted: HeaderExtension[] = [];
  if (backing)
    wanted.push({ magic: ExtensionMagic.BACKING_FORMAT, data: new TextEncoder().encode(backing.format) });
  if ((wanted[0]?.data.length ?? 0) > MAX_BACKING_FORMAT_BYTES)
    invalid("the backing format's name is longer than 15 bytes.");
  const name = new TextEncoder().encode(backing?.name ?? "");
  if (backing && (name.length === 0 || name.length > MAX_BACKING_NAME_BYTES))
    invalid(`the backing file's name has ${name.length} bytes; 1 to ${MAX_BACKING_NAME_BYTES} are allowed.`);
  // Feature names are a courtesy to other programs; the smallest clusters have no room for them.
  const needed = [...wanted, ...further];
  const withNames = version === 3 ? [...wanted, featureNameTable(), ...further] : needed;
  const fits = (list: HeaderExtension[]) =>
    headerBytes + encodeExtensions(list).length + name.length <= header.length;
  const extensions = fits(withNames) ? withNames : needed;
  if (!fits(extensions))
    invalid(
      `the backing file's name has ${name.length} bytes and the header extensions ${encodeExtensions(needed).length}: ` +
        `too many for clusters of ${header.length} bytes.`,
    );
  const encoded = encodeExtensions(extensions);
  header.set(encoded, headerBytes);
  if (!backing) return;
  const nameAt = headerBytes + encoded.length;
  header.set(name, nameAt);
  writeU64(viewOf(header), HeaderField.BACKING_OFFSET, nameAt);
  viewOf(header).setUint32(HeaderField.BACKING_SIZE, name.length);
}
