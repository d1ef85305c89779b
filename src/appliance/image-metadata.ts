import {
  ByreError,
  encodeMetadata,
  type Metadata,
  metadataOf,
  metadataRoom,
  type Qcow2Device,
  withMetadata,
} from "../../disk/index.ts";

/** What an open image says of itself, and how much it could say. */
export interface ImageMetadata {
  readonly metadata: Metadata;
  /** Bytes that its header cluster has for it. */
  readonly roomBytes: number;
}

/** @throws ByreError METADATA_INVALID, UNSUPPORTED_VERSION: what is there cannot be read. */
export function readImageMetadata({ header, name }: Qcow2Device): ImageMetadata {
  return { metadata: metadataOf(header, name), roomBytes: metadataRoom(header, header.extensions) };
}

/**
 * Puts this into the image in the place of what it says now, and makes it durable.
 *
 * @throws ByreError METADATA_INVALID, METADATA_TOO_LARGE; what writing meets. The image is as before then.
 */
export async function writeImageMetadata(device: Qcow2Device, metadata: Metadata): Promise<void> {
  await device.changeHeader({
    extensions: (present) => withMetadata(device.header, present, metadata, device.name),
  });
}

/** How much of the room in an image its description takes. */
export interface MetadataSize {
  readonly storedBytes: number;
  readonly limitBytes: number;
  /** Its values, the largest first, with their plain lengths. */
  readonly largest: readonly { readonly key: string; readonly bytes: number }[];
}

/**
 * How large a description would be in an image: packed, as it is stored there.
 *
 * @throws ByreError METADATA_INVALID for what cannot be stored at all.
 */
export function measureMetadata(metadata: Metadata, roomBytes: number): MetadataSize {
  const encoder = new TextEncoder();
  const largest = [...metadata]
    .map(([key, value]) => ({ key, bytes: encoder.encode(value).length }))
    .sort((a, b) => b.bytes - a.bytes);
  const { storedBytes, limitBytes } = stored(metadata, roomBytes);
  return { storedBytes, limitBytes, largest };
}

/** What an image with clusters of QEMU's own size has room for. */
const MOST_BYTES = 32 * 1024;

function stored(metadata: Metadata, roomBytes: number): { storedBytes: number; limitBytes: number } {
  const limitBytes = Math.min(MOST_BYTES, roomBytes);
  try {
    return { storedBytes: encodeMetadata(metadata, "The image", roomBytes).length, limitBytes };
  } catch (error) {
    if (!(error instanceof ByreError) || error.code !== "METADATA_TOO_LARGE") throw error;
    // Past 1 MiB it is not packed at all: the two numbers are then of the plain text.
    return { storedBytes: Number(error.data.lengthBytes), limitBytes: Number(error.data.limitBytes) };
  }
}
