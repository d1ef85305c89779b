import type { Qcow2Device } from "../qcow2/qcow2-device.ts";
import { UNFINISHED_SNAPSHOT } from "../qcow2/saved-state.ts";
import type { StateWriter } from "../qcow2/state-writer.ts";

/** What a disk and its named snapshots read as, disk and state: "" is the disk itself. */
export type Contents = ReadonlyMap<string, string>;

/** One step of a story; whole once the device has flushed after it. */
export interface StoryStep {
  readonly name: string;
  readonly run: (device: Qcow2Device) => Promise<void>;
  /** Whether it writes to the disk: then the disk alone may be half changed. */
  readonly writes?: boolean;
}

/** Reads everything that a person can load, and the disk as it is now. */
export async function readContents(device: Qcow2Device): Promise<Contents> {
  const contents = new Map<string, string>();
  contents.set("", await readDisk(device));
  for (const { id, name } of device.snapshots) {
    if (name === UNFINISHED_SNAPSHOT) continue;
    const reader = await device.openState(id);
    const state = new Uint8Array(reader.sizeBytes);
    await reader.read(0, state);
    const disk = await readDisk(await device.openSnapshot(id));
    contents.set(`${id} ${name}`, `${disk} ${Buffer.from(state).toString("latin1")}`);
  }
  return contents;
}

export function sameContents(a: Contents | undefined, b: Contents, withDisk = true): boolean {
  return (
    a !== undefined &&
    a.size === b.size &&
    [...a].every(([name, bytes]) => (name === "" && !withDisk) || b.get(name) === bytes)
  );
}

async function readDisk(device: Qcow2Device): Promise<string> {
  const bytes = new Uint8Array(device.sizeBytes);
  await device.read(0, bytes);
  return Buffer.from(bytes).toString("latin1");
}

const STATE_CLUSTERS = 6;

/** The clusters of a state, each in another way; `parent` shares where it can. */
async function writeState(device: Qcow2Device, state: StateWriter, value: number, parentName?: string) {
  const { clusterSizeBytes } = device.header;
  const plain = (more: number) => new Uint8Array(clusterSizeBytes).fill(value + more);
  const packed = (more: number) => {
    const bytes = device.image.codec.compress(plain(more));
    if (!bytes) throw new Error("a cluster of one byte was not packed");
    return bytes;
  };
  const parent = device.snapshots.find(({ name }) => name === parentName);
  await state.writeCluster(0, plain(0));
  await state.writePacked(1, packed(1));
  await state.writeZeros(2, 1);
  for (const index of [3, 4])
    if (!parent || !(await state.share(index, parent))) await state.writePacked(index, packed(index));
  await device.write(value * 100, new Uint8Array(clusterSizeBytes).fill(value));
  await state.writeCluster(5, plain(5));
}

/** A save as one step: what it writes while the guest goes on is seen when it is finished, or not at all. */
function save(name: string, value: number, options: { parent?: string; replaces?: string } = {}): StoryStep {
  return {
    name: `save ${name}`,
    writes: true,
    async run(device) {
      const { clusterSizeBytes } = device.header;
      const state = await device.beginState({ maxStateBytes: STATE_CLUSTERS * clusterSizeBytes });
      try {
        await writeState(device, state, value, options.parent);
        await state.finish({
          name,
          vmStateBytes: STATE_CLUSTERS * clusterSizeBytes - 7,
          dateSeconds: 1,
          dateNanoseconds: 2,
          replaces: device.snapshots.filter((each) => each.name === options.replaces).map(({ id }) => id),
        });
      } catch (error) {
        await state.cancel().catch(() => {});
        throw error;
      }
    },
  };
}

/** Saves, loads, deletes, renames and edits that share and unshare clusters of disk and state. */
export const STATE_STORY: readonly StoryStep[] = [
  save("first", 1),
  { name: "write", writes: true, run: (device) => device.write(3000, new Uint8Array(200_000).fill(90)) },
  save("second", 20, { parent: "first" }),
  { name: "load first", run: (device) => device.applySnapshot("first", { withoutState: true }) },
  save("first", 40, { parent: "first", replaces: "first" }),
  {
    name: "edit second",
    async run(device) {
      const state = await device.editState("second");
      try {
        await state.writeCluster(0, new Uint8Array(device.header.clusterSizeBytes).fill(99));
        await state.finish({ name: "second, described", vmStateBytes: device.header.clusterSizeBytes * 6 });
      } catch (error) {
        await state.cancel().catch(() => {});
        throw error;
      }
    },
  },
  { name: "load second", run: (device) => device.applySnapshot("second, described") },
  { name: "rename", run: async (device) => void (await device.renameSnapshot("first", "one")) },
  save("third", 60, { parent: "second, described" }),
  { name: "delete one", run: (device) => device.deleteSnapshot("one") },
  {
    name: "delete the rest",
    run: (device) => device.deleteSnapshots(device.snapshots.map(({ id }) => id)),
  },
];
