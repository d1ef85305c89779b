import { statSync } from "node:fs";
import type { BlockDevice } from "../block-device.ts";
import { ENTRY_BYTES } from "../qcow2/format.ts";
import { decodeTableOffset } from "../qcow2/l2-entry.ts";
import type { Qcow2Device } from "../qcow2/qcow2-device.ts";
import { readRefcount } from "../qcow2/refcount-entry.ts";
import type { FileSpec } from "./image-spec.ts";
import { HoleFinder } from "./map-holes.ts";
import { backingSpec, type OpenImageOptions, parseImageSpec } from "./open-image.ts";

/** One image of a chain, and where its bytes are. */
export interface ChainLayer {
  readonly device: BlockDevice;
  readonly qcow2: Qcow2Device | undefined;
  /** The plain file it is in, whole; undefined for one inside another file or on the web. */
  readonly path: string | undefined;
  /** How messages and tables call its file. */
  readonly filename: string;
  /**
   * Finds holes in the plain file of a raw image; or of a qcow2 image with preallocated metadata, where those of
   * less than a cluster come and go with the system's cache.
   */
  readonly holes: HoleFinder | undefined;
}

/** An opened image and what is behind it, top first. */
export async function chainOf(
  device: BlockDevice,
  spec: string,
  options: OpenImageOptions,
): Promise<ChainLayer[]> {
  const layers: ChainLayer[] = [];
  let file: FileSpec = parseImageSpec(spec, options).file;
  let current: BlockDevice | undefined = device;
  while (current) {
    const qcow2: Qcow2Device | undefined = isQcow2(current) ? current : undefined;
    const path: string | undefined = file.kind === "path" ? file.path : undefined;
    const wantsHoles = path !== undefined && (!qcow2 || (await hasPreallocatedMetadata(qcow2, path)));
    layers.push({
      device: current,
      qcow2,
      path,
      filename: nameOf(file),
      holes: wantsHoles ? new HoleFinder(path, qcow2?.info.clusterSizeBytes) : undefined,
    });
    const backingName = qcow2?.backing && qcow2.header.backingName;
    if (backingName) file = backingSpec(file, backingName);
    current = qcow2?.backing;
  }
  return layers;
}

export function isQcow2(device: BlockDevice): device is Qcow2Device {
  return "image" in device;
}

function nameOf(file: FileSpec): string {
  switch (file.kind) {
    case "path":
      return file.path;
    case "url":
      return file.url;
    case "tar":
      return `tar:${file.path}`;
    case "slice":
      return nameOf(file.file);
  }
}

/**
 * Whether more clusters are counted as used than the file has room for on its disk: then some that hold data
 * by the tables were never written, and the file's holes say which. The threshold is QEMU's.
 */
async function hasPreallocatedMetadata({ image }: Qcow2Device, path: string): Promise<boolean> {
  const { clusterSizeBytes, refcountOrder, refcountTable, file } = image;
  const onDisk = Math.floor((statSync(path).blocks * 512) / clusterSizeBytes);
  const threshold = Math.max(Math.floor((onDisk * 10) / 9), onDisk + 2);
  const endCluster = Math.ceil(file.sizeBytes / clusterSizeBytes);
  // A file without that many clusters cannot use that many.
  if (endCluster < threshold) return false;
  const countsPerBlock = (clusterSizeBytes * 8) / 2 ** refcountOrder;
  const block = new Uint8Array(clusterSizeBytes);
  let used = 0;
  for (let first = 0; first < endCluster && used < threshold; first += countsPerBlock) {
    const at = (first / countsPerBlock) * ENTRY_BYTES;
    if (at >= refcountTable.byteLength) break;
    const offset = decodeTableOffset(refcountTable.getUint32(at), refcountTable.getUint32(at + 4));
    if (offset === 0 || offset + clusterSizeBytes > file.sizeBytes) continue;
    await file.read(offset, block);
    for (let i = 0; i < countsPerBlock && first + i < endCluster && used < threshold; i++)
      if (readRefcount(block, i, refcountOrder) > 0) used++;
  }
  return used >= threshold;
}
