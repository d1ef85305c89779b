import { metadataOf } from "../disk/appliance/header-metadata.ts";
import {
  type BlockDevice,
  type BlockFile,
  ByreError,
  createMemoryFile,
  openDevice,
  openQcow2,
  probeImage,
  type Qcow2Device,
  readQcow2Info,
} from "../disk/index.ts";
import { checkQcow2 } from "../disk/qcow2/check.ts";
import type { Shape } from "./format-shapes.ts";
import type { Random } from "./random.ts";

/** Guest bytes read in one go at most, and for disks up to this size all of them. */
const READ_BYTES = 64 * 1024;
const READ_ALL_BYTES = 1024 * 1024;

/**
 * Does with an image whatever a user could do with one that a stranger gave him.
 *
 * @throws whatever is not a `ByreError`, or is one that says we made a mistake (INTERNAL): a finding.
 */
export async function exerciseImage(image: Uint8Array, shape: Shape, random: Random): Promise<void> {
  await attempt(() => probeImage(memory(image)));
  await attempt(() => readQcow2Info(memory(image)));
  await attempt(() => readThrough(image, shape, random));
  await attempt(() => readAs2008(image, random));
  await attempt(() => change(image, shape, random));
  await attempt(() => checkQcow2(memory(image)));
  const repair = random.pick(["leaks", "all", "all"] as const);
  await attempt(() => checkQcow2(memory(image, true), { repair }));
}

/** Runs one step; a typed error is as good an outcome as success. */
async function attempt(step: () => Promise<unknown>): Promise<void> {
  try {
    await step();
  } catch (error) {
    if (!(error instanceof ByreError) || error.code === "INTERNAL") throw error;
  }
}

function memory(image: Uint8Array, writable = false): BlockFile {
  return createMemoryFile({ name: "fuzz.qcow2", content: image, writable });
}

async function open(image: Uint8Array, shape: Shape, writable: boolean): Promise<Qcow2Device> {
  return openQcow2(memory(image, writable), {
    writable,
    ...(shape.password !== undefined && { password: shape.password }),
    resolveBacking: async ({ name }) => {
      // A name that was changed into that of the image itself is a loop.
      const bytes = name === "fuzz.qcow2" ? image : shape.backing[name];
      if (!bytes) throw new ByreError("BACKING_MISSING", `there is no ${name}`);
      return createMemoryFile({ name, content: bytes, writable: false });
    },
  });
}

async function readThrough(image: Uint8Array, shape: Shape, random: Random): Promise<void> {
  const device = await open(image, shape, false);
  try {
    await attempt(async () => metadataOf(device.header, device.name));
    await readSome(device, random);
    for (const { id } of device.snapshots.slice(0, 3))
      await attempt(async () => {
        const view = await device.openSnapshot(id);
        await readSome(view, random);
        await view.close();
      });
  } finally {
    await device.close();
  }
}

async function readAs2008(image: Uint8Array, random: Random): Promise<void> {
  const device = await openDevice(memory(image), { format: "qcow3-2008", backing: "none" });
  try {
    await readSome(device, random);
  } finally {
    await device.close();
  }
}

async function readSome(device: BlockDevice, random: Random): Promise<void> {
  const { sizeBytes } = device;
  const target = new Uint8Array(READ_BYTES);
  if (sizeBytes <= READ_ALL_BYTES) {
    for (let at = 0; at < sizeBytes; at += READ_BYTES)
      await attempt(() => device.read(at, target.subarray(0, Math.min(READ_BYTES, sizeBytes - at))));
  } else
    for (let i = 0; i < 12; i++) {
      const at = random.chance(0.5) ? random.below(Math.min(sizeBytes, 2 ** 20)) : random.below(sizeBytes);
      await attempt(() => device.read(at, target.subarray(0, Math.min(READ_BYTES, sizeBytes - at))));
    }
  await attempt(async () => {
    for (let at = 0, i = 0; at < sizeBytes && i < 64; i++)
      at += (await device.blockStatus(at, sizeBytes - at)).lengthBytes;
  });
}

async function change(image: Uint8Array, shape: Shape, random: Random): Promise<void> {
  const device = await open(image, shape, true);
  try {
    for (let i = 0; i < 10; i++) await attempt(() => changeOnce(device, random));
  } finally {
    await attempt(() => device.close());
  }
}

async function changeOnce(device: Qcow2Device, random: Random): Promise<unknown> {
  const { sizeBytes } = device;
  const clusterBytes = device.info.clusterSizeBytes;
  const length = Math.min(sizeBytes, random.pick([1, 512, 4096, clusterBytes, 3 * clusterBytes, 100_000]));
  const near = random.chance(0.7) ? Math.min(sizeBytes, 2 ** 20) : sizeBytes;
  const offset = Math.min(random.below(near + 1), sizeBytes - length);
  const aligned = offset - (offset % clusterBytes);
  const snapshot = random.pick([...device.snapshots.slice(0, 4).map(({ id }) => id), "none"]);
  switch (random.below(17)) {
    case 0:
    case 1:
      return device.write(offset, new Uint8Array(length).fill(random.below(256)));
    case 2:
      return device.write(aligned, new Uint8Array(Math.min(clusterBytes, sizeBytes - aligned)).fill(1));
    case 3:
      return device.writeZeroes(offset, length, { unmap: random.chance(0.5) });
    case 4:
      return device.discard(aligned, Math.min(sizeBytes - aligned, clusterBytes * random.between(1, 8)));
    case 5:
      return device.writeCompressed(aligned, new Uint8Array(clusterBytes).fill(random.below(256)));
    case 6:
      return device.read(offset, new Uint8Array(length));
    case 7:
      return device.createSnapshot({ name: `s${random.below(1000)}` });
    case 8:
      return device.applySnapshot(snapshot);
    case 9:
      return device.deleteSnapshot(snapshot);
    case 10:
      return device.resize(
        sizeBytes + 512 * random.pick([1, 8, 100, 100, 10_000, random.chance(0.1) ? 2 ** 34 : 2 ** 24]),
      );
    case 11:
      return device.resize(512 * Math.ceil(random.below(sizeBytes + 1) / 512), { shrink: true });
    case 12:
      return device.writePacked(aligned, random.fill(new Uint8Array(Math.min(clusterBytes - 1, 100))));
    case 13:
      return random.chance(0.3) ? device.makeEmpty() : device.flush();
    case 14:
      return device.changeHeader({ lazyRefcounts: random.chance(0.5) });
    case 15:
      return device.amend({ version: random.pick([2, 3]), refcountBits: random.pick([1, 8, 16, 64]) });
    default:
      return device.flush();
  }
}
