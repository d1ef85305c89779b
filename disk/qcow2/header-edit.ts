import { WriteStage } from "../block-file.ts";
import { ByreError } from "../errors.ts";
import { alone } from "./bulk-change.ts";
import type { Qcow2Core } from "./core.ts";
import { encodeExtensions, featureNameTable, type HeaderExtension } from "./extensions.ts";
import {
  CompatibleFeature,
  ExtensionMagic,
  HeaderField,
  MAX_BACKING_FORMAT_BYTES,
  MAX_BACKING_NAME_BYTES,
  V2_HEADER_BYTES,
  V3_HEADER_BYTES,
} from "./format.ts";
import { parseHeader, type Qcow2Header } from "./header.ts";
import { untilReady } from "./needs.ts";
import { TablePatch } from "./table-patch.ts";
import { viewOf } from "./u64.ts";

/** What of a header can be changed without touching any table. What is left out stays. */
export interface HeaderChange {
  /** The image behind this one; null for none. Only the name changes: see `rebase` for the bytes. */
  backing?: { name: string; format?: string } | null;
  /** Other header extensions, from those that are there; the backing format is not among them. */
  extensions?: (present: readonly HeaderExtension[]) => readonly HeaderExtension[];
  lazyRefcounts?: boolean;
  version?: 2 | 3;
}

/**
 * Makes a change of the header, and flushes it. Fields and extensions that are not known here stay. When a file with
 * transactions cannot be flushed, the header is as before.
 */
export function changeHeader(core: Qcow2Core, change: HeaderChange): Promise<void> {
  return alone(core, async () => {
    const { image } = core;
    const { file, clusterSizeBytes } = image;
    const patch = new TablePatch(file, clusterSizeBytes);
    await patch.load(0, clusterSizeBytes);
    const cluster = patch.bytes(0, clusterSizeBytes);
    const before = cluster.slice();
    const after = encodeHeaderCluster(before, change, file.name);
    const header = parseHeader(after, file.name);
    cluster.set(after);
    let start = 0;
    while (start < after.length && after[start] === before[start]) start++;
    if (start === after.length) return;
    let end = after.length;
    while (after[end - 1] === before[end - 1]) end--;
    patch.mark(start, end - start, WriteStage.HEADER);
    const replaced = image.header;
    await untilReady((needs) => {
      if (!patch.tryApply(needs)) return undefined;
      image.header = header;
      return true;
    });
    try {
      await file.flush();
    } catch (error) {
      if (file.transactional) {
        patch.revert();
        image.header = replaced;
      }
      throw error;
    }
  });
}

/**
 * A header cluster with changes made.
 *
 * @throws ByreError INVALID_ARGUMENT for a name the format does not hold; TOO_LARGE when all of it does not
 *   fit into the first cluster.
 */
export function encodeHeaderCluster(
  cluster: Uint8Array,
  change: HeaderChange,
  fileName: string,
): Uint8Array<ArrayBuffer> {
  const header = parseHeader(cluster, fileName);
  const version = change.version ?? header.version;
  const prefix = encodePrefix(cluster, header, version);
  const view = viewOf(prefix);
  if (version === 3 && change.lazyRefcounts !== undefined) {
    const bit = 1n << BigInt(CompatibleFeature.LAZY_REFCOUNTS);
    const { compatibleFeatures } = header;
    view.setBigUint64(
      HeaderField.COMPATIBLE_FEATURES,
      change.lazyRefcounts ? compatibleFeatures | bit : compatibleFeatures & ~bit,
    );
  }
  const backing = backingAfter(header, change, fileName);
  const others = header.extensions.filter(({ magic }) => magic !== ExtensionMagic.BACKING_FORMAT);
  const kept = change.extensions?.(others) ?? others;
  const format = backing?.format;
  const formatExtension =
    format === undefined
      ? []
      : [{ magic: ExtensionMagic.BACKING_FORMAT, data: new TextEncoder().encode(format) }];
  const extensions = encodeExtensions([...formatExtension, ...kept]);
  const name = new TextEncoder().encode(backing?.name ?? "");
  const total = prefix.length + extensions.length + name.length;
  if (total > cluster.length)
    throw new ByreError(
      "TOO_LARGE",
      `${fileName}: its header would have ${total} bytes, and the first cluster holds ${cluster.length}. ` +
        "Shorten what it says of itself, or use larger clusters.",
      { file: fileName, lengthBytes: total, clusterSizeBytes: cluster.length },
    );
  const result = new Uint8Array(cluster.length);
  view.setBigUint64(
    HeaderField.BACKING_OFFSET,
    name.length === 0 ? 0n : BigInt(prefix.length + extensions.length),
  );
  view.setUint32(HeaderField.BACKING_SIZE, name.length);
  result.set(prefix);
  result.set(extensions, prefix.length);
  result.set(name, prefix.length + extensions.length);
  return result;
}

/** The fixed fields, with those that are not known here, for a version. */
function encodePrefix(cluster: Uint8Array, header: Qcow2Header, version: 2 | 3): Uint8Array<ArrayBuffer> {
  if (version === header.version) return new Uint8Array(cluster.slice(0, header.headerBytes));
  const prefix = new Uint8Array(version === 2 ? V2_HEADER_BYTES : V3_HEADER_BYTES);
  prefix.set(cluster.subarray(0, V2_HEADER_BYTES));
  const view = viewOf(prefix);
  view.setUint32(HeaderField.VERSION, version);
  if (version === 2) return prefix;
  view.setUint32(HeaderField.REFCOUNT_ORDER, header.refcountOrder);
  view.setUint32(HeaderField.HEADER_LENGTH, V3_HEADER_BYTES);
  return prefix;
}

/** The feature-name table in its place, as version 3 images have it. */
export function withFeatureNames(extensions: readonly HeaderExtension[]): readonly HeaderExtension[] {
  const others = extensions.filter(({ magic }) => magic !== ExtensionMagic.FEATURE_NAMES);
  return [...others, featureNameTable()];
}

function backingAfter(
  header: Qcow2Header,
  change: HeaderChange,
  fileName: string,
): { name: string; format: string | undefined } | undefined {
  const invalid = (what: string) =>
    new ByreError("INVALID_ARGUMENT", `${fileName}: ${what}`, { file: fileName });
  const { backing } = change;
  if (backing === null) return undefined;
  if (backing === undefined)
    return header.backingName === undefined
      ? undefined
      : { name: header.backingName, format: header.backingFormat };
  const nameBytes = new TextEncoder().encode(backing.name).length;
  if (nameBytes === 0 || nameBytes > MAX_BACKING_NAME_BYTES)
    throw invalid(
      `the backing file's name has ${nameBytes} bytes; 1 to ${MAX_BACKING_NAME_BYTES} are allowed.`,
    );
  const formatBytes = new TextEncoder().encode(backing.format ?? "").length;
  if (formatBytes > MAX_BACKING_FORMAT_BYTES)
    throw invalid(`the backing format's name has ${formatBytes} bytes; 15 are allowed.`);
  return { name: backing.name, format: backing.format };
}
