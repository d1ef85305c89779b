import { createMemoryFile } from "../files/memory-file.ts";
import { createQcow2 } from "../qcow2/create.ts";
import { HeaderField, V2_HEADER_BYTES } from "../qcow2/format.ts";
import { openQcow2 } from "../qcow2/open.ts";

/** What a 2008 image is to hold. */
export interface Make2008Options {
  readonly sizeBytes: number;
  readonly clusterSizeBytes?: number;
  /** Written as `key:value` with NUL between; made as they are, so that a test can make bad ones. */
  readonly entries: readonly (string | Uint8Array)[];
  /** Guest data at offset 0. */
  readonly data?: Uint8Array | undefined;
  /** Where the metadata begins. Default: right after the header. */
  readonly metadataOffset?: number;
  readonly trailingNul?: boolean;
}

/**
 * Makes an image of the "qcow3" proposal of 2008 from its description: a version 2 image whose version says
 * 3, with metadata where the backing file's name would be. No program that wrote them is around any more.
 */
export async function make2008Image(options: Make2008Options): Promise<Uint8Array<ArrayBuffer>> {
  const { sizeBytes, clusterSizeBytes = 4096, metadataOffset = V2_HEADER_BYTES } = options;
  const file = createMemoryFile({ name: "2008" });
  await createQcow2(file, { sizeBytes, version: 2, clusterSizeBytes });
  const device = await openQcow2(file);
  if (options.data) await device.write(0, options.data);
  await device.flush();
  const bytes = file.toBytes();
  const metadata: number[] = [];
  options.entries.forEach((entry, index) => {
    if (index > 0) metadata.push(0);
    metadata.push(...(typeof entry === "string" ? new TextEncoder().encode(entry) : entry));
  });
  if (options.trailingNul) metadata.push(0);
  const view = new DataView(bytes.buffer);
  view.setUint32(HeaderField.VERSION, 3);
  view.setBigUint64(HeaderField.BACKING_OFFSET, BigInt(metadataOffset));
  view.setUint32(HeaderField.BACKING_SIZE, metadata.length);
  bytes.fill(0, V2_HEADER_BYTES, clusterSizeBytes);
  bytes.set(metadata, metadataOffset);
  return bytes;
}
