import { openHttpFile, openIndexedDbFile, openQcow2 } from "../../disk/index.ts";
import { finished } from "../../emulator/index.ts";
import { blockStore } from "../library/block-store.ts";
import type { MachineRecord } from "../library/machine-record.ts";

/** Enough for a header and a list of snapshots. */
const LOOK_BYTES = 64 * 1024;

/**
 * Whether the image that a kept machine is made of has snapshots. The machine need not be open, and may be.
 *
 * @throws ByreError IMPORT_UNFINISHED, NOT_FOUND for a file whose copy is not whole; FILE_CHANGED; what reading meets.
 */
export async function baseHasSnapshots(
  { base, bootsFrom }: MachineRecord,
  signal: AbortSignal,
): Promise<boolean> {
  const { name, source, identity, format } = base;
  if (bootsFrom || format === "raw") return false;
  const file =
    source.kind === "import"
      ? await openIndexedDbFile({
          database: await blockStore(),
          fileId: source.fileId,
          name,
          writable: false,
        })
      : await openHttpFile(source.url, {
          name,
          identity,
          signal,
          fetchWholeBelowBytes: 0,
          chunkBytes: LOOK_BYTES,
        });
  try {
    const device = await openQcow2(file, { writable: false, backing: "none" });
    return finished({ device }).length > 0;
  } finally {
    await file.close();
  }
}
