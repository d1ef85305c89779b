/// <reference types="vite/client" />

import wasmUrl from "v86/build/v86.wasm?url";
import biosUrl from "v86-firmware/bios/seabios.bin?url";
import vgaBiosUrl from "v86-firmware/bios/vgabios.bin?url";
import {
  type BlockFile,
  createMemoryFile,
  createQcow2,
  deleteIndexedDbFile,
  openBlockDatabase,
  openIndexedDbFile,
  openQcow2,
} from "../disk/index.ts";
import { createWorkerPacker, type Machine, startMachine } from "../emulator/index.ts";
import { measureStates, type StateMeasurements } from "./vmstate-measure.ts";

const packer = createWorkerPacker(
  () => new Worker(new URL("../emulator/state-packer-worker.ts", import.meta.url), { type: "module" }),
);

async function fetchBytes(url: string): Promise<ArrayBuffer> {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url}: ${response.status}`);
  return response.arrayBuffer();
}

/** Starts the appliance from its saved state, over an overlay of its own. */
async function start(overlay: BlockFile, appliance: Uint8Array, screenId: string): Promise<Machine> {
  const [bios, vgaBios, wasm] = await Promise.all([biosUrl, vgaBiosUrl, wasmUrl].map(fetchBytes));
  const screenElement = document.getElementById(screenId);
  if (!bios || !vgaBios || !wasm || !screenElement) throw new Error("the page is not whole");
  const baseFile = () => createMemoryFile({ name: "linux.qcow2", content: appliance, writable: false });
  const base = await openQcow2(baseFile());
  await createQcow2(overlay, {
    sizeBytes: base.sizeBytes,
    backing: { name: "linux.qcow2", format: "qcow2" },
  });
  const hda = await openQcow2(overlay, {
    resolveBacking: async () => ({ file: baseFile(), snapshot: "ready" }),
  });
  return startMachine({
    disks: { hda },
    firmware: { bios, vgaBios },
    wasm,
    screenElement,
    packer,
    startFrom: { device: base, snapshot: "ready" },
  });
}

const bench = {
  /** Saves and loads the appliance, in storage as the page keeps it. */
  async states(url: string, pairs: number): Promise<StateMeasurements> {
    const appliance = new Uint8Array(await fetchBytes(url));
    const database = await openBlockDatabase("byre-bench-vmstate");
    await deleteIndexedDbFile({ database, fileId: "overlay" });
    const overlay = await openIndexedDbFile({ database, fileId: "overlay", create: true });
    const reference = await start(createMemoryFile(), appliance, "reference");
    await reference.pause();
    const machine = await start(overlay, appliance, "screen");
    try {
      return await measureStates(machine, reference, {
        pairs,
        writtenBytes: () => overlay.stats().bytesCommitted,
        onStep: (what) => console.log(what),
      });
    } finally {
      await machine.close();
      await reference.close();
      await overlay.close();
      database.close();
    }
  },
};

export type StateBench = typeof bench;

declare global {
  interface Window {
    stateBench: StateBench;
  }
}

window.stateBench = bench;
