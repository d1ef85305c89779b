import { closeSync, openSync, rmSync, statSync } from "node:fs";
import { basename } from "node:path";
import type { BlockFile } from "../block-file.ts";
import { openHostIo } from "../files/host-io.ts";
import { hostError } from "../files/node-errors.ts";
import { createHostFile } from "../files/node-file.ts";

/**
 * Runs `fill` on an empty file: a new one, or the one that is there, which keeps its content until `fill`
 * flushes. Nothing is forced onto the disk: no one relies on the file before the command has ended, and the
 * waits would be most of its time.
 *
 * @throws ByreError what the host says, and what `fill` throws; a new file is then removed again.
 */
export async function inNewFile(path: string, fill: (file: BlockFile) => Promise<void>): Promise<void> {
  const exists = statSync(path, { throwIfNoEntry: false }) !== undefined;
  const file = await openUnsynced(path, exists);
  try {
    file.truncate(0);
    await fill(file);
  } catch (error) {
    if (!exists) rmSync(path, { force: true });
    throw error;
  } finally {
    await file.close();
  }
}

async function openUnsynced(path: string, exists: boolean): Promise<BlockFile> {
  try {
    if (!exists) closeSync(openSync(path, "wx"));
    const io = await openHostIo(path, "r+");
    return createHostFile({ ...io, sync: async () => {} }, { name: basename(path), writable: true });
  } catch (error) {
    throw hostError(error, path, "create");
  }
}
