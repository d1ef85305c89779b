import { type BlockDevice, ByreError, type Qcow2Device } from "../../disk/index.ts";
import { describeState, finished } from "../../emulator/index.ts";
import { quoted } from "../appliance/plain-text.ts";
import { findSnapshot } from "./base-start.ts";
import type { SessionParts } from "./create-session.ts";
import type { MachineBase } from "./machine-session.ts";
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
    async describeSnapshot(idOrName) {
      const { id, name, savedAt: savedAtMs, stateBytes } = find(idOrName);
      const described = await describeState(image, { id, name });
      return { id, name, savedAtMs, hasState: stateBytes > 0, ...described };
    },
    startFromSnapshot: (idOrName, options = {}) =>
      states.quietly((hooks) => {
        const { diskOnly } = options;
        return machineFromBase(parts, image, find(idOrName).id, { ...hooks, diskOnly });
      }, options),
  };
}

function isQcow2(device: BlockDevice | undefined): device is Qcow2Device {
  return device !== undefined && "snapshots" in device;
}
