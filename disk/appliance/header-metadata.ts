import { encodeExtensions, type HeaderExtension } from "../qcow2/extensions.ts";
import type { Qcow2Header } from "../qcow2/header.ts";
import { encodeMetadata, METADATA_MAGIC, type Metadata, parseMetadata } from "./metadata.ts";

/** What is left free of the header cluster, in bytes: other programs add extensions and names of their own. */
const KEPT_FREE_BYTES = 2048;
/** Magic and length of an extension. */
const EXTENSION_HEAD_BYTES = 8;

/** What an image says of itself; empty when it says nothing. */
export function metadataOf(header: Qcow2Header, fileName: string): Map<string, string> {
  const extension = header.extensions.find(({ magic }) => magic === METADATA_MAGIC);
  return extension ? parseMetadata(extension.data, fileName) : new Map();
}

/**
 * How many bytes of metadata the header cluster has room for, less what stays free.
 *
 * @param extensions all of the image's; its metadata, if among them, is not counted.
 */
export function metadataRoom(header: Qcow2Header, extensions: readonly HeaderExtension[]): number {
  const others = encodeExtensions(extensions.filter(({ magic }) => magic !== METADATA_MAGIC)).length;
  const nameBytes = new TextEncoder().encode(header.backingName ?? "").length;
  const free = header.clusterSizeBytes - header.headerBytes - others - nameBytes;
  const room = free - KEPT_FREE_BYTES - EXTENSION_HEAD_BYTES;
  return Math.max(0, Math.floor(room / 8) * 8);
}

/**
 * The header extensions with other metadata; without any when it is empty.
 *
 * @throws ByreError METADATA_INVALID, METADATA_TOO_LARGE.
 */
export function withMetadata(
  header: Qcow2Header,
  extensions: readonly HeaderExtension[],
  metadata: Metadata,
  fileName: string,
): HeaderExtension[] {
  const others = extensions.filter(({ magic }) => magic !== METADATA_MAGIC);
  if (metadata.size === 0) return others;
  const data = encodeMetadata(metadata, fileName, metadataRoom(header, extensions));
  return [...others, { magic: METADATA_MAGIC, data }];
}
