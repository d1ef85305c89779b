import {
  type BlockFile,
  createMemoryFile,
  createQcow2,
  type HttpFile,
  type IndexedDbFile,
  openIndexedDbFile,
  openQcow2,
  type Qcow2Device,
  readQcow2Info,
} from "../../disk/index.ts";
import { blockStore, deleteFiles } from "../library/block-store.ts";
import { type MachineRecord, newId } from "../library/machine-record.ts";
import { type BaseChain, pinnedChain, type RemoteOptions } from "./base-chain.ts";

/** A machine's disk, open: an overlay in this browser (or in memory) over its base. */
export interface MachineDisk<Overlay extends BlockFile = BlockFile> {
  /** What the guest sees. Closing it closes everything else here. */
  readonly device: Qcow2Device;
  readonly overlay: Overlay;
  /** Those files of the base that come over HTTP. */
  readonly remote: readonly HttpFile[];
}

/** Virtual sizes are whole sectors. */
const SECTOR_BYTES = 512;

/** What a machine's overlay is called, in messages and as an exported file. */
export function overlayName(machineName: string): string {
  return `${machineName}-overlay.qcow2`;
}

/** The files of a machine's base, from the top down. */
export function pinsOf(record: MachineRecord) {
  return [record.base, ...record.behindBase];
}

/**
 * Opens the disk of a machine that this browser keeps.
 *
 * @throws ByreError FILE_CHANGED when the base is no longer the one the machine was made on; what driver and
 *   files throw.
 */
export async function openMachineDisk(
  record: MachineRecord,
  options: RemoteOptions,
): Promise<MachineDisk<IndexedDbFile>> {
  const chain = pinnedChain(pinsOf(record), options);
  const overlay = await openIndexedDbFile({
    database: await blockStore(),
    fileId: record.overlayFileId,
    name: overlayName(record.name),
  });
  return { device: await openOverlay(overlay, chain), overlay, remote: chain.remote() };
}

/**
 * Makes an overlay in this browser's storage over a base, and opens both. Nothing is left behind when that
 * fails. Call it inside `whileMakingFiles`, until a record names the overlay.
 */
export async function makeStoredDisk(chain: BaseChain, name: string): Promise<MachineDisk<IndexedDbFile>> {
  const base = await chain.openBase();
  let overlay: IndexedDbFile | undefined;
  try {
    const sizeBytes = await sizeOfDisk(base);
    overlay = await openIndexedDbFile({
      database: await blockStore(),
      fileId: newId(),
      name: overlayName(name),
      create: true,
    });
    await createQcow2(overlay, { sizeBytes, backing: { name: base.name, format: "qcow2" } });
    return { device: await openOverlay(overlay, chain, base), overlay, remote: chain.remote() };
  } catch (error) {
    await base.close();
    await overlay?.close();
    if (overlay) await deleteFiles([overlay.fileId]);
    throw error;
  }
}

/** As `makeStoredDisk`, but what the guest writes stays in memory and is gone with the page. */
export async function makeThrowAwayDisk(chain: BaseChain, name: string): Promise<MachineDisk> {
  const base = await chain.openBase();
  try {
    const overlay = createMemoryFile({ name: overlayName(name) });
    await createQcow2(overlay, {
      sizeBytes: await sizeOfDisk(base),
      backing: { name: base.name, format: "qcow2" },
    });
    return { device: await openOverlay(overlay, chain, base), overlay, remote: chain.remote() };
  } catch (error) {
    await base.close();
    throw error;
  }
}

async function sizeOfDisk(base: BlockFile): Promise<number> {
  const { sizeBytes } = await readQcow2Info(base);
  return Math.ceil(sizeBytes / SECTOR_BYTES) * SECTOR_BYTES;
}

/** The first file the overlay asks for is the base, whatever it calls it; the rest come from the chain. */
async function openOverlay(overlay: BlockFile, chain: BaseChain, base?: BlockFile): Promise<Qcow2Device> {
  let asked = false;
  return openQcow2(overlay, {
    writable: true,
    resolveBacking: (request) => {
      if (asked) return chain.resolveBehind(request);
      asked = true;
      return base ? Promise.resolve(base) : chain.openBase();
    },
  });
}
