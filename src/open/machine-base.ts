import { type BlockDevice, ByreError, type Qcow2Device, toByreError } from "../../disk/index.ts";
import { finished, readStateHeader, stateProblem } from "../../emulator/index.ts";
import { quoted } from "../appliance/plain-text.ts";
import { findSnapshot } from "./base-start.ts";
import type { SessionParts } from "./create-session.ts";
import type { BaseSnapshotDescription, MachineBase, SavedState } from "./machine-session.ts";
import { machineFromBase } from "./new-from-snapshot.ts";
import { type SessionStates, savedState } from "./session-states.ts";

/**
 * The image that an open machine is made of, for the snapshots in it.
 *
 * @returns undefined where that cannot have any: it is a raw disk, a CD or a floppy.
 */
export function machineBase(parts: SessionParts, states: SessionStates): MachineBase | undefined {
  const { disk, baseSnapshot } = parts;
  const image = disk.device.backing;
  if (!isQcow2(image)) return undefined;
  const snapshots = finished({ device: image }).map(savedState);
  const find = (idOrName: string) => {
    const found = findSnapshot(snapshots, idOrName);
    if (found) return found;
    const { name } = image;
    throw new ByreError("SNAPSHOT_NOT_FOUND", `${name} has no snapshot "${quoted(idOrName)}".`, {
      file: name,
      snapshot: idOrName,
    });
  };
  return {
    name: image.name,
    startedFrom: baseSnapshot?.id,
    snapshots,
    describeSnapshot: async (idOrName) => describe(image, find(idOrName)),
    startFromSnapshot: (idOrName, options = {}) =>
      states.quietly((hooks) => {
        const { diskOnly } = options;
        return machineFromBase(parts, image, find(idOrName).id, { ...hooks, diskOnly });
      }, options),
  };
}

/** Codes that say that a state cannot be loaded, though its disk may be booted. */
const STATE_PROBLEMS: readonly string[] = ["STATE_INVALID", "STATE_MISMATCH", "UNSUPPORTED_VERSION"];

/** @throws ByreError what reading meets. */
async function describe(
  image: Qcow2Device,
  { id, name, savedAt: savedAtMs, stateBytes }: SavedState,
): Promise<BaseSnapshotDescription> {
  const described = { id, name, savedAtMs, description: "", hasState: stateBytes > 0 };
  try {
    const header = await readStateHeader(image, id);
    if (!header) return described;
    const { configuration, description = "", thumbnail } = header;
    const problem = stateProblem(header, name);
    return {
      ...described,
      description,
      configuration,
      ...(thumbnail && { thumbnail }),
      ...(problem && { problem }),
    };
  } catch (error) {
    const problem = toByreError(error);
    if (!STATE_PROBLEMS.includes(problem.code)) throw error;
    return { ...described, problem };
  }
}

function isQcow2(device: BlockDevice | undefined): device is Qcow2Device {
  return device !== undefined && "snapshots" in device;
}
