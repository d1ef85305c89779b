import {
  type BlockDevice,
  type BlockFile,
  ByreError,
  type CopyOptions,
  copySnapshot,
  createMemoryFile,
  createQcow2,
  type HttpFile,
  type IndexedDbFile,
  openIndexedDbFile,
  openQcow2,
  openRawDevice,
  probeImage,
  type Qcow2Device,
  type Qcow2Snapshot,
  readQcow2Info,
  toByreError,
} from "../../disk/index.ts";
import { sameMoment } from "../../emulator/index.ts";
import { blockStore, deleteFiles } from "../library/block-store.ts";
import { newId, type PinnedFile, type RecordDrives } from "../library/machine-record.ts";
import { type BaseChain, linkedChain, pinnedChain, type RemoteOptions } from "./base-chain.ts";
import { overlayLike } from "./export-disk.ts";
import { LINK_DRIVES, type LinkDrives } from "./machine-link.ts";

type SecondDisk = NonNullable<RecordDrives["hdb"]>;

/** What is in the drives of a machine beside its own disk, open. */
export interface OpenDrives {
  /**
   * For the machine: the second disk is a qcow2 overlay, that the guest writes to as it does to its own disk; it writes to a
   * floppy in this browser too. The others are only read; what it writes to such a floppy lasts until it is switched off.
   */
  readonly disks: { readonly hdb?: Qcow2Device; readonly cdrom?: BlockDevice; readonly floppy?: BlockDevice };
  /** Those files that come over HTTP. */
  readonly remote: readonly HttpFile[];
  /** Those files in this browser that the guest writes to. */
  readonly stored: readonly IndexedDbFile[];
  /** For a record, which names the same again; undefined where that is nothing. A second disk in memory has no name. */
  readonly record: RecordDrives | undefined;
  /** What the second disk is over, wherever it is itself. */
  readonly hdbBase: Omit<SecondDisk, "overlayFileId"> | undefined;
  /** What could not be put into its drive, in words. */
  readonly notes: readonly string[];
  close(): Promise<void>;
}

/** A second disk's overlay is called so, in messages. */
const SECOND_DISK = "second-disk-overlay.qcow2";
const SECTOR_BYTES = 512;

/**
 * Opens what a link puts into a new machine's drives.
 *
 * @param keep the second disk's overlay is made in this browser's storage; else in memory. Call it inside
 *   `whileMakingFiles` then, until a record names it, and `deleteMade` when none is going to.
 * @throws ByreError what is wrong with one of them; nothing is left behind then.
 */
export async function makeDrives(
  wanted: LinkDrives,
  keep: boolean,
  options: RemoteOptions,
): Promise<OpenDrives> {
  const drives = new Drives();
  let fileId: string | undefined;
  try {
    if (wanted.hdb !== undefined) {
      fileId = keep ? newId() : undefined;
      await drives.makeSecondDisk(linkedChain(wanted.hdb, options), fileId);
    }
    for (const drive of ["cdrom", "floppy"] as const) {
      const url = wanted[drive];
      if (url !== undefined) await drives.openMedium(drive, linkedChain(url, options));
    }
    return drives;
  } catch (error) {
    await drives.close();
    if (fileId) await deleteFiles([fileId]);
    throw error;
  }
}

/** Deletes what `makeDrives` has made for a machine that is not kept after all. */
export async function deleteMade({ record }: OpenDrives): Promise<void> {
  if (record?.hdb) await deleteFiles([record.hdb.overlayFileId]);
}

/**
 * Opens what a kept machine has in its drives: the very files. A CD or floppy that cannot be had is left out, with a
 * note: a machine can do without.
 *
 * @throws ByreError what is wrong with the second disk.
 */
export async function openDrives(
  record: RecordDrives | undefined,
  options?: RemoteOptions,
): Promise<OpenDrives> {
  const drives = new Drives();
  if (!record || !options) return drives;
  try {
    if (record.hdb) await drives.openSecondDisk(record.hdb, options);
    for (const drive of ["cdrom", "floppy"] as const) {
      const pin = record[drive];
      if (!pin) continue;
      const opening =
        drive === "floppy" && pin.source.kind === "import"
          ? drives.openOwnFloppy(pin, pin.source.fileId)
          : drives.openMedium(drive, pinnedChain([pin], options));
      await opening.catch((cause: unknown) => {
        if (options.signal.aborted) throw cause;
        const which = drive === "cdrom" ? "CD" : "floppy disk";
        drives.notes.push(`The ${which} ${pin.name} is not in its drive. ${toByreError(cause).message}`);
      });
    }
    return drives;
  } catch (error) {
    await drives.close();
    throw error;
  }
}

/**
 * Drives as they were when their machine was made: an empty overlay for the second disk, and all files as they are now.
 * What was imported stays. As `makeDrives`.
 */
export async function remakeDrives(
  record: RecordDrives,
  options: RemoteOptions,
): Promise<{ readonly record: RecordDrives; readonly made: OpenDrives }> {
  const { hdb, cdrom, floppy } = record;
  const pins = { hdb: hdb?.base, cdrom, floppy };
  const wanted = Object.fromEntries(
    LINK_DRIVES.flatMap((drive) => {
      const source = pins[drive]?.source;
      return source?.kind === "url" ? [[drive, source.url]] : [];
    }),
  );
  const made = await makeDrives(wanted, true, options);
  return { record: { ...record, ...made.record }, made };
}

/** Drives that were copied for another machine. */
export interface CopiedDrives {
  readonly record: RecordDrives | undefined;
  /** The copies: nobody else needs them when that machine is not made after all. */
  readonly fileIds: readonly string[];
}

/**
 * Copies what the second disk had in a saved state, for a machine that goes on from there, and the floppy that the machine
 * writes to as it is now: saved states have none.
 *
 * @param of the snapshot of the first disk that has the state. Undefined: the second disk is as its own base has it.
 * @throws ByreError as `copySnapshot`; nothing is left behind then. Call it inside `whileMakingFiles`.
 */
export async function copyDrives(
  { disks, record, hdbBase }: OpenDrives,
  of: Qcow2Snapshot | undefined,
  options: CopyOptions,
): Promise<CopiedDrives> {
  const floppy = record?.floppy;
  const fileIds: string[] = [];
  let copied = record;
  try {
    if (floppy?.source.kind === "import" && disks.floppy) {
      const fileId = newId();
      fileIds.push(fileId);
      await copyFloppy(disks.floppy, fileId, floppy.name);
      copied = { ...copied, floppy: { ...floppy, source: { kind: "import", fileId } } };
    }
    if (hdbBase && disks.hdb) {
      const overlayFileId = newId();
      fileIds.push(overlayFileId);
      await copySecondDisk(disks.hdb, of, overlayFileId, options);
      copied = { ...copied, hdb: { ...hdbBase, overlayFileId } };
    }
  } catch (error) {
    await deleteFiles(fileIds);
    throw error;
  }
  return { record: copied, fileIds };
}

async function copySecondDisk(
  from: Qcow2Device,
  of: Qcow2Snapshot | undefined,
  fileId: string,
  options: CopyOptions,
): Promise<void> {
  const mine = of && from.snapshots.findLast((each) => each.name === of.name && sameMoment(each, of));
  if (of && !mine)
    throw new ByreError(
      "SNAPSHOT_NOT_FOUND",
      `The machine's second disk has no snapshot that belongs to "${of.name}", so no machine can be made of it.`,
      { file: from.name, snapshot: of.name },
    );
  const file = await openIndexedDbFile({
    database: await blockStore(),
    fileId,
    name: SECOND_DISK,
    create: true,
  });
  try {
    await createQcow2(file, overlayLike(from, mine?.diskBytes ?? from.sizeBytes));
    if (!mine) return;
    const to = await openQcow2(file, { writable: true, backing: "none" });
    await copySnapshot(from, mine.id, to, options).finally(() => to.close());
  } finally {
    await file.close();
  }
}

async function copyFloppy(from: BlockDevice, fileId: string, name: string): Promise<void> {
  const bytes = new Uint8Array(from.sizeBytes);
  await from.read(0, bytes);
  const file = await openIndexedDbFile({ database: await blockStore(), fileId, name, create: true });
  try {
    file.write(0, bytes);
    await file.flush();
  } finally {
    await file.close();
  }
}

class Drives implements OpenDrives {
  readonly disks: { hdb?: Qcow2Device; cdrom?: BlockDevice; floppy?: BlockDevice } = {};
  readonly stored: IndexedDbFile[] = [];
  readonly notes: string[] = [];
  hdbBase: OpenDrives["hdbBase"];
  private readonly chains: BaseChain[] = [];
  private named: RecordDrives = {};

  get remote(): HttpFile[] {
    return this.chains.flatMap((chain) => chain.remote());
  }

  get record(): RecordDrives | undefined {
    return Object.keys(this.named).length > 0 ? this.named : undefined;
  }

  async makeSecondDisk(chain: BaseChain, fileId: string | undefined): Promise<void> {
    this.chains.push(chain);
    const base = await chain.openBase();
    let overlay: BlockFile | undefined;
    try {
      const format = await probeImage(base);
      const sizeBytes = format === "qcow2" ? (await readQcow2Info(base)).sizeBytes : base.sizeBytes;
      overlay =
        fileId === undefined ? createMemoryFile({ name: SECOND_DISK }) : await this.store(fileId, true);
      await createQcow2(overlay, {
        sizeBytes: Math.ceil(sizeBytes / SECTOR_BYTES) * SECTOR_BYTES,
        backing: { name: base.name, format: format === "qcow2" ? "qcow2" : "raw" },
      });
      this.disks.hdb = await openOver(overlay, chain, base);
    } catch (error) {
      await base.close();
      await overlay?.close();
      throw error;
    }
    const [pinned, ...behindBase] = chain.pinned();
    if (!pinned) return;
    this.hdbBase = { base: pinned, behindBase };
    if (fileId) this.named = { ...this.named, hdb: { ...this.hdbBase, overlayFileId: fileId } };
  }

  async openSecondDisk({ overlayFileId, ...hdbBase }: SecondDisk, options: RemoteOptions): Promise<void> {
    const chain = pinnedChain([hdbBase.base, ...hdbBase.behindBase], options);
    this.chains.push(chain);
    this.disks.hdb = await openOver(await this.store(overlayFileId, false), chain);
    this.hdbBase = hdbBase;
    this.named = { ...this.named, hdb: { ...hdbBase, overlayFileId } };
  }

  async openMedium(drive: "cdrom" | "floppy", chain: BaseChain): Promise<void> {
    const file = await chain.openBase();
    this.chains.push(chain);
    this.disks[drive] = openRawDevice(file, { writable: false });
    const [pinned] = chain.pinned();
    if (pinned) this.named = { ...this.named, [drive]: pinned };
  }

  /** A floppy in this browser is the machine's alone, and written to. */
  async openOwnFloppy(pin: PinnedFile, fileId: string): Promise<void> {
    const file = await openIndexedDbFile({ database: await blockStore(), fileId, name: pin.name });
    this.stored.push(file);
    this.disks.floppy = openRawDevice(file, { writable: true });
    this.named = { ...this.named, floppy: pin };
  }

  async close(): Promise<void> {
    const { hdb, cdrom, floppy } = this.disks;
    const closed = await Promise.allSettled([floppy, cdrom, hdb].map((device) => device?.close()));
    // One that cannot store its last bytes keeps no other open.
    for (const result of closed) if (result.status === "rejected") throw result.reason;
  }

  private async store(fileId: string, create: boolean): Promise<IndexedDbFile> {
    const file = await openIndexedDbFile({
      database: await blockStore(),
      fileId,
      name: SECOND_DISK,
      ...(create && { create }),
    });
    this.stored.push(file);
    return file;
  }
}

/** The first file the overlay asks for is its base, whatever it calls it; the rest come from the chain. */
function openOver(overlay: BlockFile, chain: BaseChain, base?: BlockFile): Promise<Qcow2Device> {
  let asked = false;
  return openQcow2(overlay, {
    writable: true,
    resolveBacking: async (request) => {
      if (asked) return chain.resolveBehind(request);
      asked = true;
      return base ?? chain.openBase();
    },
  });
}

/** Whether a machine's drives are what a link asks for, and nothing else. */
export function hasDrives(record: RecordDrives | undefined, wanted: LinkDrives): boolean {
  const address = (pin: PinnedFile | undefined) =>
    pin === undefined ? undefined : pin.source.kind === "url" ? pin.source.url : "imported";
  return (
    address(record?.hdb?.base) === wanted.hdb &&
    address(record?.cdrom) === wanted.cdrom &&
    address(record?.floppy) === wanted.floppy
  );
}
