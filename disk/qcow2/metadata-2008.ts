import type { BlockFile } from "../block-file.ts";
import { ByreError } from "../errors.ts";
import {
  HeaderField,
  MAX_BACKING_NAME_BYTES,
  MAX_CLUSTER_BITS,
  MIN_CLUSTER_BITS,
  V2_HEADER_BYTES,
  V3_HEADER_MIN_BYTES,
} from "./format.ts";
import { hasQcow2Magic, parseHeader } from "./header.ts";
import { type OpenQcow2Options, openQcow2 } from "./open.ts";
import type { Qcow2Device } from "./qcow2-device.ts";
import { viewOf, writeU64 } from "./u64.ts";

/**
 * The "qcow3" image proposed in 2008: a version 2 image that says version 3, and whose fields for the backing
 * file's name point to metadata instead: NUL-separated `key:value`, the backing file under `Backing-File`.
 * QEMU never took it in and refuses such images; here they can be read, to be migrated.
 */
export interface Image2008 {
  /** Read-only. */
  readonly device: Qcow2Device;
  /** Keys and values in the image's order; text from a stranger. */
  readonly pairs: readonly (readonly [key: string, value: string])[];
}

const BACKING_KEY = "Backing-File";
/** Where the end of the header extensions and the backing name stand in the header that is made up. */
const MADE_END_AT = V2_HEADER_BYTES;
const MADE_NAME_AT = V2_HEADER_BYTES + 8;

/**
 * Opens a 2008 image. Only ever when asked for by name: a damaged version 3 image may look like one.
 *
 * @param file owned by the device from now on, and closed here when opening fails.
 * @throws ByreError NOT_QCOW2 when it is no such image; else as `openQcow2`.
 */
export async function open2008Image(
  file: BlockFile,
  options: Pick<OpenQcow2Options, "resolveBacking" | "backing" | "onWarning"> = {},
): Promise<Image2008> {
  let found: { pairs: [string, string][]; cluster: Uint8Array } | undefined;
  try {
    found = await read(file);
    if (!found)
      throw new ByreError(
        "NOT_QCOW2",
        `${file.name} is not an image of the 2008 qcow3 format. Open it without naming that format.`,
        { file: file.name },
      );
  } catch (error) {
    await file.close();
    throw error;
  }
  const device = await openQcow2(withFirstCluster(file, found.cluster), { ...options, writable: false });
  return { device, pairs: found.pairs };
}

/**
 * The pairs of a 2008 image. The file stays the caller's.
 *
 * @returns undefined when the file is anything else, a sound version 3 image above all.
 */
export async function read2008Metadata(
  file: BlockFile,
): Promise<readonly (readonly [key: string, value: string])[] | undefined> {
  return (await read(file))?.pairs;
}

async function read(
  file: BlockFile,
): Promise<{ pairs: [string, string][]; cluster: Uint8Array } | undefined> {
  if (file.sizeBytes < 2 ** MIN_CLUSTER_BITS) return undefined;
  const first = new Uint8Array(2 ** MIN_CLUSTER_BITS);
  await file.read(0, first);
  if (!hasQcow2Magic(first)) return undefined;
  const bits = viewOf(first).getUint32(HeaderField.CLUSTER_BITS);
  if (bits < MIN_CLUSTER_BITS || bits > MAX_CLUSTER_BITS || file.sizeBytes < 2 ** bits) return undefined;
  const cluster = new Uint8Array(2 ** bits);
  await file.read(0, cluster);
  return parse2008Header(cluster, file.name);
}

/**
 * Recognises a 2008 image by its first cluster.
 *
 * @returns its pairs, and the cluster as a version 2 image would have it; undefined when it is none.
 */
export function parse2008Header(
  bytes: Uint8Array,
  fileName: string,
): { pairs: [string, string][]; cluster: Uint8Array } | undefined {
  const view = viewOf(bytes);
  if (view.getUint32(HeaderField.VERSION) !== 3) return undefined;
  // Every sound version 3 image has a length here that is in range, and is no 2008 image whatever follows.
  const headerBytes = view.getUint32(HeaderField.HEADER_LENGTH);
  if (headerBytes >= V3_HEADER_MIN_BYTES && headerBytes <= bytes.length) return undefined;
  const offset = view.getBigUint64(HeaderField.BACKING_OFFSET);
  const length = view.getUint32(HeaderField.BACKING_SIZE);
  if (offset < BigInt(V2_HEADER_BYTES) || offset + BigInt(length) > BigInt(bytes.length)) return undefined;
  const start = Number(offset);
  const pairs = parsePairs(bytes.subarray(start, start + length));
  if (!pairs) return undefined;
  const names = pairs.filter(([key]) => key === BACKING_KEY).map(([, value]) => value);
  const backing = new TextEncoder().encode(names[0] ?? "");
  if (names.length > 1 || backing.length > MAX_BACKING_NAME_BYTES) return undefined;
  if (MADE_NAME_AT + backing.length > bytes.length) return undefined;

  const cluster = bytes.slice();
  const made = viewOf(cluster);
  cluster.fill(0, MADE_END_AT);
  made.setUint32(HeaderField.VERSION, 2);
  writeU64(made, HeaderField.BACKING_OFFSET, backing.length > 0 ? MADE_NAME_AT : 0);
  made.setUint32(HeaderField.BACKING_SIZE, backing.length);
  cluster.set(backing, MADE_NAME_AT);
  try {
    // Tables start at clusters of their own, so behind the metadata, which is in the first.
    parseHeader(cluster, fileName);
  } catch (error) {
    if (error instanceof ByreError) return undefined;
    throw error;
  }
  return { pairs, cluster };
}

/** @returns undefined when an entry is no UTF-8 or has no key, and when there is none. */
function parsePairs(bytes: Uint8Array): [string, string][] | undefined {
  const last = bytes.lastIndexOf(0) === bytes.length - 1 ? bytes.length - 1 : bytes.length;
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(
      bytes.subarray(0, Math.max(0, last)),
    );
  } catch {
    return undefined;
  }
  const pairs: [string, string][] = [];
  for (const entry of text.split("\0")) {
    const colon = entry.indexOf(":");
    if (colon < 1) return undefined;
    pairs.push([entry.slice(0, colon), entry.slice(colon + 1)]);
  }
  return pairs;
}

/** The file with another first cluster; it cannot be written. */
function withFirstCluster(file: BlockFile, cluster: Uint8Array): BlockFile {
  const overlay = (offsetBytes: number, target: Uint8Array) => {
    if (offsetBytes < cluster.length)
      target.set(cluster.subarray(offsetBytes, Math.min(cluster.length, offsetBytes + target.length)));
  };
  const refuse = (): never => {
    throw new ByreError(
      "READ_ONLY",
      `${file.name} is an image of the 2008 qcow3 format, which is only read.`,
      {
        file: file.name,
      },
    );
  };
  return {
    name: file.name,
    sizeBytes: file.sizeBytes,
    writable: false,
    transactional: file.transactional,
    dirtyBytes: 0,
    readNow(offsetBytes, target) {
      if (!file.readNow(offsetBytes, target)) return false;
      overlay(offsetBytes, target);
      return true;
    },
    async read(offsetBytes, target) {
      await file.read(offsetBytes, target);
      overlay(offsetBytes, target);
    },
    load: (offsetBytes, lengthBytes) => file.load(offsetBytes, lengthBytes),
    canWriteNow: () => false,
    write: refuse,
    truncate: refuse,
    forget: refuse,
    flush: async () => {},
    close: () => file.close(),
  };
}
