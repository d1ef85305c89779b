import type { BlockDevice } from "../block-device.ts";
import type { BlockFile } from "../block-file.ts";
import { ByreError } from "../errors.ts";
import { openRawDevice } from "../raw/raw-device.ts";
import { loadCodec } from "./compression.ts";
import { createQcow2Device } from "./create-device.ts";
import type { ClusterCipher } from "./crypt.ts";
import { findLastHostCluster } from "./extent.ts";
import { checkFeatures } from "./features.ts";
import {
  CryptMethod,
  ENTRY_BYTES,
  IncompatibleFeature,
  MAX_CLUSTER_BITS,
  MAX_SNAPSHOT_TABLE_BYTES,
  SECTOR_BYTES,
} from "./format.ts";
import { hasIncompatible, hasQcow2Magic, parseHeader, type Qcow2Header } from "./header.ts";
import { Qcow2Image } from "./image.ts";
import { describeImage, type Qcow2Info } from "./info.ts";
import { openCipher } from "./open-cipher.ts";
import type { Qcow2Device } from "./qcow2-device.ts";
import { parseSnapshotTable, type Qcow2Snapshot } from "./snapshot-table.ts";

/** What an image asks of whoever opened it: the file behind it. */
export interface BackingRequest {
  /** The name in the image, as it stands there: text from a stranger. */
  readonly name: string;
  /** The format in the image, if it says one. */
  readonly format: string | undefined;
  /** The image that asks. */
  readonly overlayName: string;
}

/** The image behind another, as it is or as one of its internal snapshots has it. */
export interface BackingImage {
  readonly file: BlockFile;
  /** Id or name of a snapshot of a qcow2 image. */
  readonly snapshot?: string;
}

/**
 * Supplies the file behind an image. Nothing in an image is followed on its own: only what this returns is
 * opened. Refuse with a ByreError (BACKING_MISSING, BACKING_DENIED). The device closes the file.
 */
export type BackingResolver = (request: BackingRequest) => Promise<BlockFile | BackingImage>;

export interface OpenQcow2Options {
  /** Opens for writing. Default: as the file is. */
  writable?: boolean;
  /** Default: an image with a backing file is refused with BACKING_DENIED. */
  resolveBacking?: BackingResolver;
  /**
   * "none" opens the image without what is behind it: what it does not store itself reads as zeros. For
   * looking at the image alone.
   */
  backing?: "open" | "none";
  /** For an encrypted image (and encrypted images behind it): text, or the bytes of one. */
  password?: string | Uint8Array;
  /** Is told of what a change makes untrue, such as bitmaps that do not see it. */
  onWarning?: (message: string) => void;
}

/** How much of an encrypted disk is looked at to tell noise: sectors, in at most so many runs. */
const SAMPLE_SECTORS = 16;
const SAMPLE_RUNS = 64;

/** Longer chains are refused; a chain that comes back to itself is found this way too. */
const MAX_CHAIN = 64;

/**
 * Opens a qcow2 image, version 2 or 3, and the chain behind it (read-only).
 *
 * Only the header, the first-level tables and the snapshot table are read. Nothing is written before the
 * first write, except that an image that was not closed cleanly (dirty bit) is repaired when it is opened for
 * writing, as QEMU does.
 *
 * @param file owned by the device from now on: closed with it, and closed here when opening fails.
 * @throws ByreError NOT_QCOW2, TRUNCATED, CORRUPT, UNSUPPORTED_VERSION, TOO_LARGE; ENCRYPTED without a
 *   password; for what is not done LUKS, EXTERNAL_DATA_FILE, UNSUPPORTED_FEATURE; for writing also MARKED_CORRUPT, and CHECK_FAILED when a
 *   dirty image cannot be repaired; for the chain BACKING_DENIED, BACKING_DEPTH, SNAPSHOT_NOT_FOUND and what
 *   the resolver throws.
 */
export async function openQcow2(file: BlockFile, options: OpenQcow2Options = {}): Promise<Qcow2Device> {
  return openInChain(file, options.writable ?? file.writable, options, []);
}

/**
 * Reads what the header says without opening what is behind the image. The file stays the caller's.
 *
 * @throws ByreError as `openQcow2` for the header; features that cannot be opened are no error here.
 */
export async function readQcow2Info(file: BlockFile): Promise<Qcow2Info> {
  return describeImage(await readHeader(file));
}

/**
 * Tells a qcow2 image by its magic number. Never use the answer to choose raw for a file that will be
 * written: a guest can put any magic number into a raw disk.
 */
export async function probeImage(file: BlockFile): Promise<"qcow2" | "unknown"> {
  if (file.sizeBytes < 4) return "unknown";
  const magic = new Uint8Array(4);
  await file.read(0, magic);
  return hasQcow2Magic(magic) ? "qcow2" : "unknown";
}

async function openInChain(
  file: BlockFile,
  writable: boolean,
  options: OpenQcow2Options,
  overlays: readonly string[],
): Promise<Qcow2Device> {
  let backing: BlockDevice | undefined;
  try {
    const image = await openImage(file, writable, options);
    const { backingName: name, backingFormat: format } = image.header;
    if (name !== undefined && options.backing !== "none")
      backing = await openBacking({ name, format, overlayName: file.name }, options, [
        ...overlays,
        file.name,
      ]);
    const { onWarning = () => {} } = options;
    const device = createQcow2Device(image, { backing, writable, onWarning });
    if (image.cipher && options.onWarning) await warnOfNoise(device, onWarning);
    return device;
  } catch (error) {
    await backing?.close();
    await file.close();
    throw error;
  }
}

async function openImage(file: BlockFile, writable: boolean, options: OpenQcow2Options): Promise<Qcow2Image> {
  let header = await readHeader(file);
  checkFeatures(header, file.name, writable);
  const cipher = await cipherOf(header, file.name, options.password);
  if (writable && hasIncompatible(header, IncompatibleFeature.DIRTY)) {
    const { repairDirty } = await import("./repair.ts");
    await repairDirty(file);
    header = await readHeader(file);
  }
  const image = new Qcow2Image({
    file,
    header,
    l1: await readTable(file, header.l1OffsetBytes, header.l1Entries * ENTRY_BYTES, "L1 table"),
    refcountTable: await readTable(
      file,
      header.refcountTableOffsetBytes,
      header.refcountTableClusters * header.clusterSizeBytes,
      "refcount table",
    ),
    ...(await readSnapshots(file, header)),
    codec: await loadCodec(header.compressionType === 1 ? "zstd" : "zlib"),
    cipher,
  });
  await checkNotCutShort(image);
  return image;
}

async function cipherOf(
  header: Qcow2Header,
  fileName: string,
  password: string | Uint8Array | undefined,
): Promise<ClusterCipher | undefined> {
  if (header.cryptMethod !== CryptMethod.AES) return undefined;
  if (password !== undefined) return openCipher(password);
  throw new ByreError("ENCRYPTED", `${fileName} is encrypted (AES): a password is needed to open it.`, {
    file: fileName,
  });
}

/**
 * Nothing in the format checks a password: with a wrong one the disk reads as noise. When the first sectors
 * stored are nothing but that, it is said.
 */
async function warnOfNoise(device: Qcow2Device, onWarning: (message: string) => void): Promise<void> {
  const { looksScrambled } = await import("./crypt.ts");
  const sample = new Uint8Array(SAMPLE_SECTORS * SECTOR_BYTES);
  let sectors = 0;
  let at = 0;
  for (let runs = 0; runs < SAMPLE_RUNS && at < device.sizeBytes && sectors < SAMPLE_SECTORS; runs++) {
    const { data, lengthBytes } = await device.blockStatus(at, device.sizeBytes - at);
    const end = at + lengthBytes;
    for (; data && at + SECTOR_BYTES <= end && sectors < SAMPLE_SECTORS; at += SECTOR_BYTES, sectors++)
      await device.read(at, sample.subarray(sectors * SECTOR_BYTES, (sectors + 1) * SECTOR_BYTES));
    at = end;
  }
  if (!looksScrambled(sample.subarray(0, sectors * SECTOR_BYTES))) return;
  onWarning(
    `${device.name} reads as nothing but noise with this password. Its format cannot tell a wrong one; do not write ` +
      "to it unless you are sure.",
  );
}

/** Reads the snapshot table in growing pieces: its length stands nowhere. */
async function readSnapshots(
  file: BlockFile,
  header: Qcow2Header,
): Promise<{ snapshots: readonly Qcow2Snapshot[]; snapshotTableBytes: number }> {
  if (header.snapshotCount === 0) return { snapshots: [], snapshotTableBytes: 0 };
  const { snapshotsOffsetBytes: offsetBytes, version, clusterSizeBytes, sizeBytes: diskBytes } = header;
  const inFile = file.sizeBytes - offsetBytes;
  for (let lengthBytes = 64 * 1024; ; lengthBytes *= 8) {
    const bytes = new Uint8Array(Math.max(0, Math.min(lengthBytes, inFile, MAX_SNAPSHOT_TABLE_BYTES)));
    if (bytes.length > 0) await file.read(offsetBytes, bytes);
    const place = { fileName: file.name, offsetBytes, version, clusterSizeBytes, diskBytes };
    const table = parseSnapshotTable(bytes, header.snapshotCount, place);
    if (table) return { snapshots: table.snapshots, snapshotTableBytes: table.lengthBytes };
    if (bytes.length === lengthBytes) continue;
    throw new ByreError(
      bytes.length === inFile ? "TRUNCATED" : "TOO_LARGE",
      `${file.name}: its snapshot table at offset ${offsetBytes} has ${header.snapshotCount} entries, which do ` +
        `not end within ${bytes.length} bytes. Repair it with byre check -r all.`,
      { file: file.name, offsetBytes, snapshotCount: header.snapshotCount },
    );
  }
}

async function openBacking(
  request: BackingRequest,
  options: OpenQcow2Options,
  overlays: readonly string[],
): Promise<BlockDevice> {
  const { name, format, overlayName } = request;
  if (overlays.length >= MAX_CHAIN)
    throw new ByreError(
      "BACKING_DEPTH",
      `${overlays[0]} has more than ${MAX_CHAIN} images behind it, or one of them is its own backing file ` +
        `(the last is ${overlayName}, which asks for ${name}).`,
      { file: overlayName, backing: name, depth: overlays.length },
    );
  if (format !== undefined && format !== "qcow2" && format !== "raw")
    throw new ByreError(
      "UNSUPPORTED_FEATURE",
      `${overlayName} has a backing file in the format "${format}"; qcow2 and raw are read. ` +
        `Convert ${name} with qemu-img first.`,
      { file: overlayName, backing: name, format },
    );
  const supplied = await (options.resolveBacking ?? denyBacking)(request);
  const { file, snapshot } = "readNow" in supplied ? { file: supplied } : supplied;
  // Without a declared format the magic decides, as in QEMU: safe here, since a backing file is only read
  // and what it names in turn goes through the same resolver.
  const isQcow2 = format === undefined ? (await probeImage(file)) === "qcow2" : format === "qcow2";
  if (isQcow2) {
    const device = await openInChain(file, false, options, overlays);
    return snapshot === undefined ? device : openAtSnapshot(device, snapshot);
  }
  if (snapshot === undefined) return openRawDevice(file, { writable: false });
  await file.close();
  throw new ByreError(
    "SNAPSHOT_NOT_FOUND",
    `${file.name} is a raw image, which has no snapshots; ${overlayName} is to be over its snapshot "${snapshot}".`,
    { file: file.name, snapshot },
  );
}

/** The device as a snapshot has it; closing it closes the device. */
async function openAtSnapshot(device: Qcow2Device, snapshot: string): Promise<Qcow2Device> {
  try {
    return await device.openSnapshot(snapshot, { owning: true });
  } catch (error) {
    await device.close();
    throw error;
  }
}

async function denyBacking({ name, overlayName }: BackingRequest): Promise<BlockFile> {
  throw new ByreError(
    "BACKING_DENIED",
    `${overlayName} needs the backing file "${name}", which is not opened on the image's word alone. Supply it.`,
    { file: overlayName, backing: name },
  );
}

/** Reads and parses the header of an image; the file stays the caller's. */
export async function readHeader(file: BlockFile): Promise<Qcow2Header> {
  const first = new Uint8Array(Math.min(file.sizeBytes, 512));
  await file.read(0, first);
  if (first.length < 512) return parseHeader(first, file.name);
  // A whole cluster may hold extensions; its size stands in the first bytes.
  const clusterBits = hasQcow2Magic(first) ? (first[23] ?? 0) : 0;
  const clusterBytes = 2 ** Math.min(MAX_CLUSTER_BITS, Math.max(9, clusterBits));
  const bytes = new Uint8Array(Math.min(file.sizeBytes, clusterBytes));
  await file.read(0, bytes);
  return parseHeader(bytes, file.name);
}

async function readTable(
  file: BlockFile,
  offsetBytes: number,
  lengthBytes: number,
  what: string,
): Promise<Uint8Array> {
  if (offsetBytes + lengthBytes > file.sizeBytes)
    throw new ByreError(
      "TRUNCATED",
      `${file.name}: its ${what} needs bytes ${offsetBytes} to ${offsetBytes + lengthBytes}, but the file ends ` +
        `after ${file.sizeBytes} bytes. The file is cut short or damaged.`,
      { file: file.name, offsetBytes, lengthBytes, sizeBytes: file.sizeBytes },
    );
  const bytes = new Uint8Array(lengthBytes);
  await file.read(offsetBytes, bytes);
  return bytes;
}

/**
 * Finds out at once when the end of the file is missing, as after a broken download, rather than when the
 * guest first reads there.
 *
 * @throws ByreError TRUNCATED with where the file should reach at least.
 */
async function checkNotCutShort(image: Qcow2Image): Promise<void> {
  const lastOffset = await findLastHostCluster(image);
  const { file } = image;
  if (lastOffset < file.sizeBytes) return;
  throw new ByreError(
    "TRUNCATED",
    `${file.name}: its tables use a cluster at ${lastOffset}, but the file ends after ${file.sizeBytes} bytes. ` +
      "The file is cut short: fetch or copy it again.",
    { file: file.name, offsetBytes: lastOffset, sizeBytes: file.sizeBytes },
  );
}
