import { findL1 } from "./mapping.ts";
import type { Qcow2Device } from "./qcow2-device.ts";

/**
 * Whether the disk is, table for table, what it was in a snapshot, so that an overlay over the one is an overlay over
 * the other. Reads first-level tables alone: false may also mean that the same bytes were written again.
 *
 * @param idOrName an id goes before a name.
 * @throws ByreError SNAPSHOT_NOT_FOUND, CORRUPT.
 */
export async function isDiskOf(device: Qcow2Device, idOrName: string): Promise<boolean> {
  const then = await device.openSnapshot(idOrName);
  try {
    if (then.sizeBytes !== device.sizeBytes) return false;
    for (let at = 0; at < device.sizeBytes; at += device.image.l2ReachBytes)
      if (findL1(then.image, at).l2OffsetBytes !== findL1(device.image, at).l2OffsetBytes) return false;
    return true;
  } finally {
    await then.close();
  }
}
