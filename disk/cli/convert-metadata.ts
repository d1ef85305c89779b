import { encodeMetadata, METADATA_MAGIC } from "../appliance/metadata.ts";
import type { CreateQcow2Options } from "../qcow2/create.ts";
import { encodeExtensions, featureNameTable, type HeaderExtension } from "../qcow2/extensions.ts";
import { ExtensionMagic, V2_HEADER_BYTES, V3_HEADER_BYTES } from "../qcow2/format.ts";
import { read2008Metadata } from "../qcow2/metadata-2008.ts";
import type { ConvertSource } from "./convert-source.ts";
import { ExitCode, ExitError } from "./exit.ts";

/** What is left free of the header cluster: other programs add extensions of their own. */
const KEPT_FREE_BYTES = 2048;
/** A 2008 image keeps the name of what is behind it among its pairs; a copy has its own. */
const BACKING_KEY = "Backing-File";

/**
 * What an image says of itself, for a copy of it to say too: its metadata extension, or the pairs of a 2008
 * image.
 *
 * @param wanted what the copy is to be; its header must have room.
 * @throws ExitError where it has not; ByreError METADATA_INVALID, METADATA_TOO_LARGE for pairs that our
 *   extension cannot hold.
 */
export async function carriedMetadata(
  source: ConvertSource,
  wanted: CreateQcow2Options,
  warn: (message: string) => void,
): Promise<HeaderExtension[]> {
  const [part] = source.parts;
  if (!part || source.parts.length > 1) return [];
  const roomBytes = headerRoom(wanted);
  if (part.opened.format === "qcow3-2008") {
    const pairs = (await read2008Metadata(part.opened.file)) ?? [];
    const metadata = ourPairs(pairs, warn);
    if (metadata.size === 0) return [];
    return [{ magic: METADATA_MAGIC, data: encodeMetadata(metadata, part.opened.filename, roomBytes) }];
  }
  const header = part.layers[0]?.qcow2?.header;
  const extensions = header?.extensions.filter(({ magic }) => magic === METADATA_MAGIC) ?? [];
  for (const { data } of extensions)
    if (data.length > roomBytes)
      throw new ExitError(
        ExitCode.FAILED,
        `the metadata of ${part.opened.filename} (${data.length} bytes) does not fit into the header of an image with ` +
          `clusters of ${wanted.clusterSizeBytes ?? 65536} bytes. Choose larger ones: -o cluster_size=64k.`,
      );
  return extensions;
}

/** Keys as ours are spelt: in lower case, and with `-` for what they may not have. */
function ourPairs(
  pairs: readonly (readonly [key: string, value: string])[],
  warn: (message: string) => void,
): Map<string, string> {
  const metadata = new Map<string, string>();
  for (const [key, value] of pairs) {
    if (key === BACKING_KEY) continue;
    const ours = key
      .toLowerCase()
      .replace(/[^a-z0-9._-]/g, "-")
      .replace(/^[._-]+/, "");
    if (ours === "" || metadata.has(ours))
      warn(`the metadata "${key}" is not carried: there is no other name for it`);
    else metadata.set(ours, value);
  }
  return metadata;
}

function headerRoom({ version = 3, clusterSizeBytes = 65536, backing }: CreateQcow2Options): number {
  const headerBytes = version === 2 ? V2_HEADER_BYTES : V3_HEADER_BYTES;
  const encoder = new TextEncoder();
  const extensions: HeaderExtension[] = version === 3 ? [featureNameTable()] : [];
  if (backing)
    extensions.push({ magic: ExtensionMagic.BACKING_FORMAT, data: encoder.encode(backing.format) });
  const nameBytes = encoder.encode(backing?.name ?? "").length;
  // The extension's own magic and length, and what rounds it up.
  const headBytes = 16;
  const used = headerBytes + encodeExtensions(extensions).length + nameBytes + headBytes;
  return Math.max(0, clusterSizeBytes - used - KEPT_FREE_BYTES);
}
