import { open } from "node:fs/promises";
import { type Partition, SECTOR_BYTES, writePartitionTable } from "./partition-table.ts";

export interface DiskParts {
  path: string;
  sizeBytes: number;
  /** For the master boot record. */
  bootCode: Uint8Array;
  signature: number;
  partitions: readonly (Partition & { contentPath?: string })[];
}

const CHUNK_BYTES = 1024 * 1024;
const ZEROS = Buffer.alloc(CHUNK_BYTES);

/** Makes a raw disk image with its partition table and, where a file is named for it, each partition's content. */
export async function assembleDisk({
  path,
  sizeBytes,
  bootCode,
  signature,
  partitions,
}: DiskParts): Promise<void> {
  const disk = await open(path, "w");
  try {
    await disk.truncate(sizeBytes);
    await disk.write(writePartitionTable(bootCode, signature, partitions), 0, SECTOR_BYTES, 0);
    for (const { contentPath, firstSector } of partitions) {
      if (contentPath === undefined) continue;
      const content = await open(contentPath, "r");
      try {
        const chunk = Buffer.alloc(CHUNK_BYTES);
        for (let atBytes = 0; ; ) {
          const { bytesRead } = await content.read(chunk, 0, CHUNK_BYTES, atBytes);
          if (bytesRead === 0) break;
          // What is never written stays a hole: the disk is far larger than what is on it.
          if (chunk.compare(ZEROS, 0, bytesRead, 0, bytesRead) !== 0) {
            await disk.write(chunk, 0, bytesRead, firstSector * SECTOR_BYTES + atBytes);
          }
          atBytes += bytesRead;
        }
      } finally {
        await content.close();
      }
    }
  } finally {
    await disk.close();
  }
}
