import { ByreError } from "../errors.ts";
import { ExtensionMagic, FeatureType } from "./format.ts";
import { viewOf } from "./u64.ts";

/** One header extension as it stands in the file, known or not. */
export interface HeaderExtension {
  readonly magic: number;
  readonly data: Uint8Array;
}

/** Bytes of one entry of the feature-name table: type, bit, name. */
const FEATURE_NAME_ENTRY_BYTES = 48;
const FEATURE_NAME_BYTES = 46;

/**
 * Parses the header extensions.
 *
 * @param bytes the first cluster, at least up to `endBytes`.
 * @param startBytes where the header ends.
 * @param endBytes where extensions must end: the backing name, or the end of the cluster.
 * @returns every extension before END, in the file's order; unknown ones too.
 * @throws ByreError CORRUPT when an extension's length leaves the area.
 */
export function parseExtensions(
  bytes: Uint8Array,
  startBytes: number,
  endBytes: number,
  fileName: string,
): HeaderExtension[] {
  const view = viewOf(bytes);
  const extensions: HeaderExtension[] = [];
  let at = startBytes;
  while (at < endBytes) {
    if (at + 8 > endBytes)
      throw new ByreError(
        "CORRUPT",
        `${fileName}: a header extension at offset ${at} has no room: ${endBytes - at} bytes are left for extensions.`,
        { file: fileName, offsetBytes: at },
      );
    const magic = view.getUint32(at);
    const length = view.getUint32(at + 4);
    if (length > endBytes - at - 8)
      throw new ByreError(
        "CORRUPT",
        `${fileName}: the header extension 0x${magic.toString(16)} at offset ${at} claims ${length} bytes, ` +
          `but only ${endBytes - at - 8} are left for extensions.`,
        { file: fileName, offsetBytes: at, magic, lengthBytes: length },
      );
    // The end's length counts too, as in QEMU.
    if (magic === ExtensionMagic.END) break;
    extensions.push({ magic, data: bytes.slice(at + 8, at + 8 + length) });
    at += 8 + align8(length);
  }
  return extensions;
}

/** The bytes of the extensions, END included. */
export function encodeExtensions(extensions: readonly HeaderExtension[]): Uint8Array {
  const total = extensions.reduce((sum, extension) => sum + 8 + align8(extension.data.length), 8);
  const bytes = new Uint8Array(total);
  const view = viewOf(bytes);
  let at = 0;
  for (const { magic, data } of extensions) {
    view.setUint32(at, magic);
    view.setUint32(at + 4, data.length);
    bytes.set(data, at + 8);
    at += 8 + align8(data.length);
  }
  return bytes;
}

/** Name of a feature bit from the image's own feature-name table, if it has one. */
export function featureName(
  extensions: readonly HeaderExtension[],
  type: number,
  bit: number,
): string | undefined {
  const table = extensions.find((extension) => extension.magic === ExtensionMagic.FEATURE_NAMES);
  if (!table) return undefined;
  for (let at = 0; at + FEATURE_NAME_ENTRY_BYTES <= table.data.length; at += FEATURE_NAME_ENTRY_BYTES) {
    if (table.data[at] !== type || table.data[at + 1] !== bit) continue;
    const name = table.data.subarray(at + 2, at + 2 + FEATURE_NAME_BYTES);
    const end = name.indexOf(0);
    return new TextDecoder().decode(end < 0 ? name : name.subarray(0, end));
  }
  return undefined;
}

/** The feature-name table for the features this driver knows, as QEMU 7.2 names them. */
export function featureNameTable(): HeaderExtension {
  const names: [number, number, string][] = [
    [FeatureType.INCOMPATIBLE, 0, "dirty bit"],
    [FeatureType.INCOMPATIBLE, 1, "corrupt bit"],
    [FeatureType.INCOMPATIBLE, 2, "external data file"],
    [FeatureType.INCOMPATIBLE, 3, "compression type"],
    [FeatureType.INCOMPATIBLE, 4, "extended L2 entries"],
    [FeatureType.COMPATIBLE, 0, "lazy refcounts"],
    [FeatureType.AUTOCLEAR, 0, "bitmaps"],
    [FeatureType.AUTOCLEAR, 1, "raw external data"],
  ];
  const data = new Uint8Array(names.length * FEATURE_NAME_ENTRY_BYTES);
  names.forEach(([type, bit, name], index) => {
    const at = index * FEATURE_NAME_ENTRY_BYTES;
    data[at] = type;
    data[at + 1] = bit;
    data.set(new TextEncoder().encode(name), at + 2);
  });
  return { magic: ExtensionMagic.FEATURE_NAMES, data };
}

function align8(length: number): number {
  return Math.ceil(length / 8) * 8;
}
