import { openHttpFile, openQcow2 } from "../../disk/index.ts";

/**
 * Names of the saved machines in an image at an address, oldest first: what its beginning and its list of snapshots say.
 *
 * @throws ByreError what reading the image meets.
 */
export async function imageStates(url: string, signal: AbortSignal): Promise<readonly string[]> {
  const file = await openHttpFile(url, { signal, fetchWholeBelowBytes: 0, chunkBytes: 64 * 1024 });
  const device = await openQcow2(file, { writable: false, backing: "none" });
  try {
    return stateNames(device.snapshots.map(({ name, vmStateBytes }) => ({ name, stateBytes: vmStateBytes })));
  } finally {
    await device.close();
  }
}

/** Those of the snapshots that a machine can go on from, by name, each once. */
export function stateNames(
  snapshots: readonly { readonly name: string; readonly stateBytes: number }[],
): string[] {
  return [...new Set(snapshots.filter(({ stateBytes }) => stateBytes > 0).map(({ name }) => name))];
}
