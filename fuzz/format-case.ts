import {
  type BlockFile,
  ByreError,
  createMemoryFile,
  openQcow2,
  probeImage,
  type Qcow2Device,
  readQcow2Info,
} from "../disk/index.ts";
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
  await attempt(() => change(image, shape, random));
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
  } finally {
    await device.close();
  }
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
  switch (random.below(8)) {
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
    default:
      return device.flush();
  }
}
