import { mkdir, open, rename, rm, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { createMemoryFile, createQcow2, openQcow2 } from "../disk/index.ts";

const CLUSTER_BYTES = 65536;

/** zlib's best: an image is packed once and fetched often. */
const COMPRESSION_LEVEL = 9;

/**
 * Writes a raw disk as a qcow2 image with compressed clusters; clusters of zeros take no room.
 * @param targetPath appears whole or not at all
 * @returns the image's length in bytes
 */
export async function packQcow2(rawPath: string, targetPath: string): Promise<number> {
  const raw = await open(rawPath, "r");
  try {
    const { size } = await raw.stat();
    // In memory, for it is a small part of the disk: one write then puts it on the host's.
    const file = createMemoryFile({ name: targetPath });
    await createQcow2(file, { sizeBytes: size, clusterSizeBytes: CLUSTER_BYTES });
    const device = await openQcow2(file, { writable: true });
    const cluster = Buffer.alloc(CLUSTER_BYTES);
    const zeros = Buffer.alloc(CLUSTER_BYTES);
    for (let offsetBytes = 0; offsetBytes < size; offsetBytes += CLUSTER_BYTES) {
      cluster.fill(0);
      await raw.read(cluster, 0, CLUSTER_BYTES, offsetBytes);
      if (cluster.equals(zeros)) continue;
      await device.writeCompressed(offsetBytes, cluster, COMPRESSION_LEVEL);
    }
    await device.flush();
    const image = file.toBytes();
    await device.close();

    await mkdir(dirname(targetPath), { recursive: true });
    const partialPath = `${targetPath}.${process.pid}.partial`;
    try {
      await writeFile(partialPath, image);
      await rename(partialPath, targetPath);
    } finally {
      await rm(partialPath, { force: true });
    }
    return image.length;
  } finally {
    await raw.close();
  }
}
