import { readBitmaps } from "../qcow2/bitmaps.ts";
import type { CreateQcow2Options } from "../qcow2/create.ts";
import { ENTRY_BYTES, MAX_L1_BYTES } from "../qcow2/format.ts";
import type { Qcow2Device } from "../qcow2/qcow2-device.ts";
import type { ConvertSource } from "./convert-source.ts";
import { ExitCode, ExitError } from "./exit.ts";

/** Bytes of an extended L2 entry. */
const EXTENDED_ENTRY_BYTES = 16;
/** A bitmap's entry in the directory, without its name. */
const DIRECTORY_ENTRY_BYTES = 24n;

/**
 * How large a qcow2 file of these options would be, with QEMU's formulas: all tables are counted as for a
 * full image, so `required` is a little more than a conversion makes.
 *
 * @param source what it would be converted from; undefined for an empty image.
 */
export async function measureQcow2(
  options: CreateQcow2Options,
  diskBytes: bigint,
  source: ConvertSource | undefined,
): Promise<{ required: bigint; "fully-allocated": bigint; bitmaps: bigint | undefined }> {
  const { clusterSizeBytes = 65536, refcountBits = 16, version = 3 } = options;
  const clusterBytes = BigInt(clusterSizeBytes);
  const entryBytes = BigInt(options.extendedL2 ? EXTENDED_ENTRY_BYTES : ENTRY_BYTES);
  const virtualBytes = roundUp(diskBytes, clusterBytes);
  const l2Tables = divideUp(virtualBytes / clusterBytes, clusterBytes / entryBytes);
  if (l2Tables * 8n > BigInt(MAX_L1_BYTES))
    throw new ExitError(ExitCode.FAILED, "The image size is too large (try using a larger cluster size)");
  const full = fullSize(virtualBytes, clusterBytes, entryBytes, BigInt(refcountBits));
  const mode = options.preallocation;
  const data =
    mode === "full" || mode === "falloc"
      ? virtualBytes
      : source === undefined
        ? 0n
        : options.backing
          ? virtualBytes
          : await dataBytes(source, clusterSizeBytes);
  const device = source?.parts[0]?.layers[0]?.qcow2;
  const hasBitmaps = version >= 3 && device !== undefined && device.info.version >= 3;
  return {
    required: full - virtualBytes + data,
    "fully-allocated": full,
    bitmaps: hasBitmaps ? await bitmapBytes(device, clusterBytes) : undefined,
  };
}

/** Bytes of the clusters that hold data. */
async function dataBytes(source: ConvertSource, clusterSizeBytes: number): Promise<bigint> {
  let bytes = 0n;
  for (let at = 0; at < source.sizeBytes; ) {
    const { zero, data, allocated, lengthBytes } = await source.status(at, source.sizeBytes - at);
    let length = lengthBytes;
    if (!zero && data && allocated) {
      length = Math.ceil((at + length) / clusterSizeBytes) * clusterSizeBytes - at;
      bytes += BigInt((at % clusterSizeBytes) + length);
    }
    at += length;
  }
  return bytes;
}

/** A file with every cluster of the disk and all that is needed to find and count them. */
function fullSize(
  virtualBytes: bigint,
  clusterBytes: bigint,
  entryBytes: bigint,
  refcountBits: bigint,
): bigint {
  const l2Entries = roundUp(virtualBytes / clusterBytes, clusterBytes / entryBytes);
  const l1Entries = roundUp((l2Entries * entryBytes) / clusterBytes, clusterBytes / 8n);
  const tables = clusterBytes + l2Entries * entryBytes + l1Entries * 8n;
  const clusters = (tables + virtualBytes) / clusterBytes;
  const countsPerBlock = (clusterBytes * 8n) / refcountBits;
  let blocks = 0n;
  let tableClusters = 0n;
  for (;;) {
    const neededBlocks = divideUp(clusters + tableClusters + blocks, countsPerBlock);
    const neededTable = divideUp(neededBlocks, clusterBytes / 8n);
    if (neededBlocks === blocks && neededTable === tableClusters) break;
    blocks = neededBlocks;
    tableClusters = neededTable;
  }
  return tables + (blocks + tableClusters) * clusterBytes + virtualBytes;
}

/** Bytes that the source's dirty bitmaps would take. */
async function bitmapBytes(device: Qcow2Device, clusterBytes: bigint): Promise<bigint> {
  const { image } = device;
  let bytes = 0n;
  let directoryBytes = 0n;
  for (const { name, granularityBytes, inUse } of await readBitmaps(image.file, image.header)) {
    if (inUse) continue;
    const bits = divideUp(BigInt(device.sizeBytes), BigInt(granularityBytes));
    const clusters = divideUp(divideUp(bits, 8n), clusterBytes);
    bytes += clusters * clusterBytes + roundUp(clusters * 8n, clusterBytes);
    directoryBytes += roundUp(DIRECTORY_ENTRY_BYTES + BigInt(new TextEncoder().encode(name).length), 8n);
  }
  return bytes + roundUp(directoryBytes, clusterBytes);
}

function divideUp(value: bigint, unit: bigint): bigint {
  return (value + unit - 1n) / unit;
}

function roundUp(value: bigint, unit: bigint): bigint {
  return divideUp(value, unit) * unit;
}
