import {
  type BlockFile,
  ByreError,
  createMemoryFile,
  createQcow2,
  encodeMetadata,
  type HttpFile,
  type IndexedDbFile,
  METADATA_MAGIC,
  openIndexedDbFile,
  openQcow2,
  type Qcow2Device,
} from "../../disk/index.ts";
import { blockStore, deleteFiles } from "../library/block-store.ts";
import { type BaseSnapshot, type MachineRecord, newId } from "../library/machine-record.ts";
import { type BaseChain, pinnedChain, type RemoteOptions } from "./base-chain.ts";
import { type BaseStart, lookForStart, plainStart, type StartWish } from "./base-start.ts";

/** A machine's disk, open: an overlay in this browser (or in memory) over its base. */
export interface MachineDisk<Overlay extends BlockFile = BlockFile> {
  /** What the guest sees. Closing it closes everything else here. */
  readonly device: Qcow2Device;
  readonly overlay: Overlay;
  /** Those files of the base that come over HTTP. */
  readonly remote: readonly HttpFile[];
}

/** A disk that was just made, and what its base had to say to that. */
export interface MadeDisk<Overlay extends BlockFile = BlockFile> extends MachineDisk<Overlay> {
  readonly start: BaseStart;
  /** What the machine is called. */
  readonly name: string;
}

/** Finds a name for a machine, of what its image says it is called. */
export type NameMachine = (applianceName: string | undefined) => string;

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
  const overlay = await openIndexedDbFile({
    database: await blockStore(),
    fileId: record.overlayFileId,
    name: overlayName(record.name),
  });
  // The base is in another drive, and nothing behind the disk.
  if (record.bootsFrom) return { device: await openQcow2(overlay, { writable: true }), overlay, remote: [] };
  const chain = pinnedChain(pinsOf(record), options);
  const device = await openOverlay(overlay, chain, record.baseSnapshot);
  return { device, overlay, remote: chain.remote() };
}

/**
 * Makes an overlay in this browser's storage over a base, and opens both. Nothing is left behind when that
 * fails. Call it inside `whileMakingFiles`, until a record names the overlay.
 */
export async function makeStoredDisk(
  chain: BaseChain,
  nameMachine: NameMachine,
  wish: StartWish,
): Promise<MadeDisk<IndexedDbFile>> {
  const fileId = newId();
  const createFile = async (name: string) =>
    openIndexedDbFile({ database: await blockStore(), fileId, name, create: true });
  try {
    return await makeDisk(chain, nameMachine, wish, createFile);
  } catch (error) {
    await deleteFiles([fileId]);
    throw error;
  }
}

/** An empty disk costs nothing until it is written to: room for a system, and few enough bytes for any BIOS of the time. */
const EMPTY_DISK_BYTES = { cdrom: 8 * 1024 ** 3, floppy: 504 * 1024 ** 2 } as const;
/** What starts from a CD is larger than what starts from a floppy, and has no image to say how large. */
const CD_MEMORY_MIB = 512;

/**
 * As `makeStoredDisk`, for a machine that boots from a CD or a floppy: its disk is empty, for its saved states and
 * whatever is installed on it.
 */
export async function makeEmptyDisk(
  bootsFrom: "cdrom" | "floppy",
  name: string,
): Promise<MadeDisk<IndexedDbFile>> {
  const fileId = newId();
  try {
    const overlay = await openIndexedDbFile({
      database: await blockStore(),
      fileId,
      name: overlayName(name),
      create: true,
    });
    const sizeBytes = EMPTY_DISK_BYTES[bootsFrom];
    await createQcow2(overlay, { sizeBytes });
    const device = await openQcow2(overlay, { writable: true });
    const configuration = {
      bootOrder: bootsFrom,
      ...(bootsFrom === "cdrom" && { memoryMiB: CD_MEMORY_MIB }),
    };
    return { device, overlay, remote: [], start: plainStart(name, sizeBytes, configuration), name };
  } catch (error) {
    await deleteFiles([fileId]);
    throw error;
  }
}

/** As `makeStoredDisk`, but what the guest writes stays in memory and is gone with the page. */
export function makeThrowAwayDisk(
  chain: BaseChain,
  nameMachine: NameMachine,
  wish: StartWish,
): Promise<MadeDisk> {
  return makeDisk(chain, nameMachine, wish, async (name) => createMemoryFile({ name }));
}

async function makeDisk<Overlay extends BlockFile>(
  chain: BaseChain,
  nameMachine: NameMachine,
  wish: StartWish,
  createFile: (name: string) => Promise<Overlay>,
): Promise<MadeDisk<Overlay>> {
  const base = await chain.openBase();
  let overlay: Overlay | undefined;
  try {
    const [pin] = chain.pinned();
    const start = await lookForStart(base, { ...wish, raw: pin?.format === "raw" });
    await wish.agree?.(start, base);
    const name = nameMachine(start.applianceName);
    overlay = await createFile(overlayName(name));
    await createOverlay(overlay, start, name);
    const device = await openOverlay(overlay, chain, start.snapshot, base);
    return { device, overlay, remote: chain.remote(), start, name };
  } catch (error) {
    await base.close();
    await overlay?.close();
    throw error;
  }
}

/** Makes an empty overlay over a base, of what was found there. */
export async function createOverlay(
  file: BlockFile,
  { sizeBytes, backingName, backingFormat, metadata }: BaseStart,
  machineName: string,
): Promise<void> {
  await createQcow2(file, {
    sizeBytes: Math.ceil(sizeBytes / SECTOR_BYTES) * SECTOR_BYTES,
    backing: { name: backingName, format: backingFormat },
    extensions: metadataExtensions(metadata, machineName),
  });
}

/** Room that the header cluster of a new overlay has for certain, beside its backing name. */
const METADATA_ROOM_BYTES = 40 * 1024;

/** For a new image that says this of itself; nothing where that is too much. */
function metadataExtensions(metadata: ReadonlyMap<string, string>, name: string) {
  if (metadata.size === 0) return [];
  try {
    return [{ magic: METADATA_MAGIC, data: encodeMetadata(metadata, name, METADATA_ROOM_BYTES) }];
  } catch (error) {
    if (error instanceof ByreError && error.code === "METADATA_TOO_LARGE") return [];
    throw error;
  }
}

/** Whether nothing was ever written to the disk: all of it is read from its base. */
export async function isPristine(device: Qcow2Device): Promise<boolean> {
  for (let at = 0; at < device.sizeBytes; ) {
    const { allocated, lengthBytes } = await device.blockStatus(at, device.sizeBytes - at);
    if (allocated) return false;
    at += lengthBytes;
  }
  return true;
}

/** The first file the overlay asks for is the base, whatever it calls it; the rest come from the chain. */
async function openOverlay(
  overlay: BlockFile,
  chain: BaseChain,
  snapshot: BaseSnapshot | undefined,
  base?: BlockFile,
): Promise<Qcow2Device> {
  let asked = false;
  return openQcow2(overlay, {
    writable: true,
    resolveBacking: async (request) => {
      if (asked) return chain.resolveBehind(request);
      asked = true;
      const file = base ?? (await chain.openBase());
      return snapshot ? { file, snapshot: snapshot.id } : file;
    },
  });
}
