import type { BlockFile } from "../block-file.ts";
import { ByreError } from "../errors.ts";
import { checkFeatures } from "../qcow2/features.ts";
import { MAX_SNAPSHOT_TABLE_BYTES } from "../qcow2/format.ts";
import { parseHeader, type Qcow2Header } from "../qcow2/header.ts";
import { parseSnapshotTable, type Qcow2Snapshot } from "../qcow2/snapshot-table.ts";

/** Enough for the tables of most images, in bytes. */
const FIRST_READ_BYTES = 64 * 1024;
const CLUSTER_BITS_AT = 23;

/** Reads an image's header and nothing else; also of images that need what byre does not do. */
export async function readHeader(file: BlockFile): Promise<Qcow2Header> {
  const first = await readUpTo(file, 0, FIRST_READ_BYTES);
  const clusterBits = first[CLUSTER_BITS_AT] ?? 0;
  const isWhole = first.length === file.sizeBytes || clusterBits < 16 || clusterBits > 21;
  return parseHeader(isWhole ? first : await readUpTo(file, 0, 2 ** clusterBits), file.name);
}

/**
 * Reads the header of an image that could be told of: features that are known and not done (LUKS, an external
 * data file) are no error here.
 *
 * @throws ByreError as `openDevice` for the header; UNSUPPORTED_FEATURE for what nobody here knows.
 */
export async function readKnownHeader(file: BlockFile): Promise<Qcow2Header> {
  const header = await readHeader(file);
  try {
    checkFeatures(header, file.name, false);
  } catch (error) {
    const isKnown =
      error instanceof ByreError && (error.code === "EXTERNAL_DATA_FILE" || error.code === "LUKS");
    if (!isKnown) throw error;
  }
  return header;
}

/** Reads the snapshot table of an image. */
export async function readSnapshots(file: BlockFile, header: Qcow2Header): Promise<readonly Qcow2Snapshot[]> {
  if (header.snapshotCount === 0) return [];
  const offsetBytes = header.snapshotsOffsetBytes;
  for (let lengthBytes = FIRST_READ_BYTES; ; lengthBytes *= 4) {
    const bytes = await readUpTo(file, offsetBytes, Math.min(lengthBytes, 2 * MAX_SNAPSHOT_TABLE_BYTES));
    const table = parseSnapshotTable(bytes, header.snapshotCount, {
      fileName: file.name,
      offsetBytes,
      version: header.version,
      clusterSizeBytes: header.clusterSizeBytes,
      diskBytes: header.sizeBytes,
    });
    if (table) return table.snapshots;
    if (bytes.length === lengthBytes) continue;
    throw new ByreError(
      "TRUNCATED",
      `${file.name}: the snapshot table at offset ${offsetBytes} goes past the end of the file.`,
      { file: file.name, offsetBytes, sizeBytes: file.sizeBytes },
    );
  }
}

async function readUpTo(file: BlockFile, offsetBytes: number, lengthBytes: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(Math.max(0, Math.min(lengthBytes, file.sizeBytes - offsetBytes)));
  await file.read(offsetBytes > file.sizeBytes ? file.sizeBytes : offsetBytes, bytes);
  return bytes;
}
