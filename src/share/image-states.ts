import { ByreError, metadataOf, openHttpFile, openQcow2, type Qcow2Device } from "../../disk/index.ts";

/** What a machine made of an image can start from. */
export interface ImageStates {
  /** Names of the saved machines in it, oldest first. */
  readonly names: readonly string[];
  /** The one that the image itself starts from. */
  readonly own: string | undefined;
}

/**
 * Reads what an image at an address can start from: its beginning, and its list of snapshots.
 *
 * @throws ByreError what reading the image meets.
 */
export async function imageStates(url: string, signal: AbortSignal): Promise<ImageStates> {
  const file = await openHttpFile(url, { signal, fetchWholeBelowBytes: 0, chunkBytes: 64 * 1024 });
  const device = await openQcow2(file, { writable: false, backing: "none" });
  try {
    return {
      names: stateNames(
        device.snapshots.map(({ name, vmStateBytes }) => ({ name, stateBytes: vmStateBytes })),
      ),
      own: ownStart(device),
    };
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

function ownStart({ header, name }: Qcow2Device): string | undefined {
  try {
    return metadataOf(header, name).get("machine.snapshot");
  } catch (error) {
    // What an image says badly of itself is no reason not to start it.
    if (error instanceof ByreError && error.code === "METADATA_INVALID") return undefined;
    throw error;
  }
}
