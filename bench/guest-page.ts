/// <reference types="vite/client" />

import wasmUrl from "v86/build/v86.wasm?url";
import biosUrl from "v86-firmware/bios/seabios.bin?url";
import vgaBiosUrl from "v86-firmware/bios/vgabios.bin?url";
import {
  type BlockDevice,
  createMemoryFile,
  createQcow2,
  deleteIndexedDbFile,
  openBlockDatabase,
  openHttpFile,
  openIndexedDbFile,
  openQcow2,
} from "../disk/index.ts";
import { type Machine, startMachine } from "../emulator/index.ts";
import { RamDisk } from "./ram-disk.ts";
import { waitForText } from "./wait-for-text.ts";

/**
 * Where a guest's disk is.
 * - `ram`: plain bytes in memory, the reference
 * - `qcow2-memory`: the appliance's qcow2 file in memory
 * - `http`: the appliance's qcow2 file on a server, fetched as it is read
 * - `indexeddb`: an overlay in IndexedDB over the appliance in memory
 */
export type DiskKind = "ram" | "qcow2-memory" | "http" | "indexeddb";

const PROMPT = "linux:~# ";

interface Running {
  machine: Machine;
  close(): Promise<void>;
}

let applianceBytes: Promise<Uint8Array> | undefined;
let ramContent: Promise<RamDisk> | undefined;

async function fetchBytes(url: string): Promise<ArrayBuffer> {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url}: ${response.status}`);
  return response.arrayBuffer();
}

function appliance(url: string): Promise<Uint8Array> {
  applianceBytes ??= fetchBytes(url).then((bytes) => new Uint8Array(bytes));
  return applianceBytes;
}

async function openDisk(
  kind: DiskKind,
  url: string,
  slowUrl: string,
): Promise<{ device: BlockDevice; close(): Promise<void> }> {
  const memoryFile = async () => createMemoryFile({ name: "linux.qcow2", content: await appliance(url) });
  if (kind === "ram") {
    ramContent ??= memoryFile().then(openQcow2).then(RamDisk.copyOf);
    const device = (await ramContent).fork();
    return { device, close: () => device.close() };
  }
  if (kind === "qcow2-memory") {
    const device = await openQcow2(await memoryFile());
    return { device, close: () => device.close() };
  }
  if (kind === "http") {
    const base = await openHttpFile(slowUrl);
    const overlay = createMemoryFile({ name: "overlay" });
    return openOverlay(overlay, base);
  }
  const database = await openBlockDatabase("byre-bench");
  await deleteIndexedDbFile({ database, fileId: "overlay" });
  const overlay = await openIndexedDbFile({ database, fileId: "overlay", create: true });
  const disk = await openOverlay(overlay, await memoryFile());
  return {
    device: disk.device,
    async close() {
      await disk.close();
      database.close();
    },
  };

  async function openOverlay(
    file: Parameters<typeof openQcow2>[0],
    base: Parameters<typeof openQcow2>[0],
  ): Promise<{ device: BlockDevice; close(): Promise<void> }> {
    await createQcow2(file, { sizeBytes: 1024 ** 3, backing: { name: "base", format: "qcow2" } });
    const device = await openQcow2(file, { resolveBacking: async () => base });
    return { device, close: () => device.close() };
  }
}

const running = new Map<DiskKind, Running>();

const bench = {
  /** Boots from a disk to the prompt; from opening the disk on. Milliseconds. */
  async boot(kind: DiskKind, url: string, slowUrl: string): Promise<number> {
    const [bios, vgaBios, wasm] = await Promise.all([biosUrl, vgaBiosUrl, wasmUrl].map(fetchBytes));
    if (!bios || !vgaBios || !wasm) throw new Error("no firmware");
    if (kind !== "http") await appliance(url);
    if (kind === "ram") await openDisk(kind, url, slowUrl);
    const start = performance.now();
    const disk = await openDisk(kind, url, slowUrl);
    const screenElement = document.getElementById("screen");
    if (!screenElement) throw new Error("no screen");
    const machine = await startMachine({
      disks: { hda: disk.device },
      firmware: { bios, vgaBios },
      wasm,
      screenElement,
    });
    running.set(kind, {
      machine,
      async close() {
        await machine.close();
        await disk.close();
      },
    });
    await waitForText(machine, PROMPT, 0);
    return performance.now() - start;
  },

  /** Runs a shell command on the booted machine; milliseconds until the next prompt. */
  async command(kind: DiskKind, line: string): Promise<number> {
    const { machine } = running.get(kind) ?? {};
    if (!machine) throw new Error(`${kind} is not running`);
    const from = machine.serial.text().length;
    const start = performance.now();
    machine.serial.send(`${line}; echo do''ne\n`);
    await waitForText(machine, "done\r\n", from);
    return performance.now() - start;
  },

  stats: (kind: DiskKind) => running.get(kind)?.machine.stats(),
  pause: (kind: DiskKind) => running.get(kind)?.machine.pause(),
  resume: (kind: DiskKind) => running.get(kind)?.machine.resume(),

  async close(kind: DiskKind): Promise<void> {
    await running.get(kind)?.close();
    running.delete(kind);
  },
};

export type GuestBench = typeof bench;

declare global {
  interface Window {
    bench: GuestBench;
  }
}

window.bench = bench;
