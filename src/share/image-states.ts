import { ByreError, metadataOf, openHttpFile, openQcow2, type Qcow2Device } from "../../disk/index.ts";
import { findSnapshot } from "../open/base-start.ts";

/** A saved machine in an image. */
export interface ImageState {
  readonly name: string;
  /** What a link calls it: its name, or its id where the name means another snapshot. */
  readonly inLink: string;
}

/** What a machine made of an image can start from. */
export interface ImageStates {
  /** The saved machines in it, oldest first. */
  readonly all: readonly ImageState[];
  /** The one that the image itself starts from. */
  readonly own: ImageState | undefined;
  /** The one that a link means by this id or name. */
  readonly find: (idOrName: string) => ImageState | undefined;
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
    const snapshots = device.snapshots.map(({ id, name, vmStateBytes }) => ({
      id,
      name,
      stateBytes: vmStateBytes,
    }));
    return statesAmong(snapshots, ownStart(device));
  } finally {
    await device.close();
  }
}

interface Snapshot {
  readonly id: string;
  readonly name: string;
  readonly stateBytes: number;
}

/**
 * Those of an image's snapshots that a machine can go on from.
 *
 * @param own id or name of the one that the image says it starts from.
 */
export function statesAmong(snapshots: readonly Snapshot[], own?: string): ImageStates {
  const states = new Map<Snapshot, ImageState>();
  for (const snapshot of snapshots) {
    const { id, name, stateBytes } = snapshot;
    const isMeant = name !== "" && findSnapshot(snapshots, name) === snapshot;
    if (stateBytes > 0) states.set(snapshot, { name, inLink: isMeant ? name : id });
  }
  const find = (idOrName: string) => {
    const snapshot = findSnapshot(snapshots, idOrName);
    return snapshot && states.get(snapshot);
  };
  return { all: [...states.values()], own: own === undefined ? undefined : find(own), find };
}

/** Names of those that a link can start by name; a file made to be shared is remembered with its names alone. */
export function stateNames(snapshots: readonly Snapshot[]): string[] {
  return statesAmong(snapshots).all.flatMap(({ name, inLink }) => (inLink === name ? [name] : []));
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
