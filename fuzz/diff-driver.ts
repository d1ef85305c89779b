import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type BlockFile, createQcow2, openQcow2, type Qcow2Device } from "../disk/index.ts";
import { openNodeFile } from "../disk/node.ts";
import { createColdFile } from "../disk/testing/cold-file.ts";
import { PASSWORD } from "./diff-commands.ts";
import type { DiffModel, DiffShape, DiffStep } from "./diff-model.ts";
import type { Random } from "./random.ts";

/** Our driver's side of the comparison. */
export interface DiffDriver {
  create(path: string): Promise<void>;
  /** Makes a step, then closes the image. */
  step(path: string, step: DiffStep, model: DiffModel): Promise<void>;
  /** The guest's bytes; those of a snapshot when one is named. */
  read(path: string, snapshot?: string): Promise<Uint8Array>;
}

/** @param folder where the images and their backing files are. */
export function createDiffDriver(shape: DiffShape, folder: string, random: Random): DiffDriver {
  const open = (file: BlockFile, writable: boolean): Promise<Qcow2Device> =>
    openQcow2(file, {
      writable,
      ...(shape.encrypted && { password: PASSWORD }),
      resolveBacking: ({ name }) => openNodeFile(join(folder, name)),
    });
  /** A plain file, or one that has nothing in memory and soon forgets it. */
  const change = async (path: string, work: (device: Qcow2Device) => Promise<void>) => {
    const full = join(folder, path);
    if (random.chance(0.5)) {
      const device = await open(await openNodeFile(full, { writable: true }), true);
      try {
        await work(device);
      } finally {
        await device.close();
      }
      return;
    }
    const transactional = random.chance(0.5);
    // Not less than one operation needs at once, a cluster of 2 MiB and its tables: that would never end.
    const capacityPieces = random.pick([800, 5000]);
    const file = createColdFile(new Uint8Array(readFileSync(full)), {
      name: path,
      transactional,
      capacityPieces,
    });
    const close = file.close;
    file.close = async () => {
      writeFileSync(full, file.toBytes());
      await close();
    };
    const device = await open(file, true);
    try {
      await work(device);
    } finally {
      await device.close();
    }
  };
  return {
    async create(path) {
      const file = await openNodeFile(join(folder, path), { create: true });
      await createQcow2(file, {
        sizeBytes: shape.sizeBytes,
        version: shape.version,
        clusterSizeBytes: shape.clusterSizeBytes,
        refcountBits: shape.refcountBits,
        compression: shape.compression,
        extendedL2: shape.extendedL2,
        lazyRefcounts: shape.lazyRefcounts,
        preallocation: shape.preallocation,
        ...(shape.encrypted && { encryption: { password: PASSWORD } }),
        ...(shape.backing && {
          backing: { name: `base.${shape.backing.format}`, format: shape.backing.format },
        }),
      });
      await file.close();
    },
    step: (path, step, model) => change(path, (device) => makeStep(device, step, model, random)),
    async read(path, snapshot) {
      const device = await open(await openNodeFile(join(folder, path)), false);
      const view = snapshot === undefined ? device : await device.openSnapshot(snapshot);
      try {
        const bytes = new Uint8Array(view.sizeBytes);
        await view.read(0, bytes);
        return bytes;
      } finally {
        if (view !== device) await view.close();
        await device.close();
      }
    },
  };
}

async function makeStep(
  device: Qcow2Device,
  step: DiffStep,
  model: DiffModel,
  random: Random,
): Promise<void> {
  switch (step.kind) {
    case "write": {
      const data = model.dataOf(step);
      if (random.chance(0.3) && device.writeNow(step.offset, data)) return;
      return device.write(step.offset, data);
    }
    case "zero":
      return device.writeZeroes(step.offset, step.length, { unmap: step.unmap });
    case "discard":
      return device.discard(step.offset, step.length);
    case "compressed": {
      const { clusterSizeBytes } = model.shape;
      const data = model.dataOf(step);
      if (random.chance(0.5)) await device.discard(step.offset, step.length);
      for (let at = 0; at < data.length; at += clusterSizeBytes) {
        const cluster = new Uint8Array(clusterSizeBytes);
        cluster.set(data.subarray(at, at + clusterSizeBytes));
        await device.writeCompressed(step.offset + at, cluster);
      }
      return;
    }
    case "snapshot":
      await device.createSnapshot({ name: step.name });
      return;
    case "apply":
      return device.applySnapshot(step.name);
    case "delete":
      return device.deleteSnapshot(step.name);
    case "resize":
      return device.resize(step.sizeBytes, { shrink: step.sizeBytes < model.sizeBytes });
  }
}
