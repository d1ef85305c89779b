import {
  type BlockFile,
  ByreError,
  isDiskOf,
  metadataOf,
  openQcow2,
  type Qcow2Device,
  toByreError,
} from "../../disk/index.ts";
import {
  applianceConfiguration,
  type DisplayChoice,
  type MachineConfiguration,
  type NetworkChoice,
  readStateHeader,
} from "../../emulator/index.ts";
import { quoted } from "../appliance/plain-text.ts";
import type { BaseSnapshot } from "../library/machine-record.ts";
import { nameAtSnapshot } from "./snapshot-file-name.ts";

/** What is asked of a new machine's start. */
export interface StartWish {
  /** The base is a raw image, which says nothing of itself. */
  readonly raw?: boolean | undefined;
  /**
   * Id or name of a snapshot of the base; or the one that the machine was made on before. Undefined: what the base says
   * itself.
   */
  readonly snapshot?: string | BaseSnapshot | undefined;
  /** Memory that a link asks for. */
  readonly memoryMiB?: number | undefined;
  /** A link puts a second disk beside this one. */
  readonly secondDisk?: boolean | undefined;
  /** Network that a link offers; it goes before the image's. */
  readonly network?: NetworkChoice | undefined;
  /** The snapshot's disk is booted and its state left alone. */
  readonly diskOnly?: boolean | undefined;
  /** Called with what the base says before anything is made on it; rejects to make nothing. */
  readonly agree?: ((start: BaseStart, base: BlockFile) => Promise<void>) | undefined;
}

/** What a new machine is made on. */
export interface BaseStart {
  /** Undefined: the base as it is. */
  readonly snapshot: BaseSnapshot | undefined;
  /** What the image says it is called; text from a stranger. */
  readonly applianceName: string | undefined;
  /** What an overlay over it calls it. */
  readonly backingName: string;
  readonly backingFormat: "qcow2" | "raw";
  /** Virtual size of the base there, in bytes. */
  readonly sizeBytes: number;
  /** It goes on from a saved state instead of booting. */
  readonly startsAtOnce: boolean;
  /** Of the state; else what the image asks for, and before that the link. */
  readonly configuration: Partial<MachineConfiguration>;
  /** What the image asks to be shown. */
  readonly display: DisplayChoice | undefined;
  /** The network that link or image asks for: an offer to the person. Undefined: none. */
  readonly network: NetworkChoice | undefined;
  /** What an overlay says of itself: what the base does, but for where that starts and what it reads then. */
  readonly metadata: ReadonlyMap<string, string>;
  /** What was asked for and is not done, in words. */
  readonly notes: readonly string[];
}

/** These are about the base's own snapshots and clusters. */
const NOT_FOR_OVERLAYS = ["machine.snapshot", "boot.prefetch"];

/**
 * Looks into a base for where a new machine starts: at the snapshot that a link names, or the one that the image's
 * own metadata names. The file stays the caller's.
 *
 * A state has its own amount of memory, and its own disks. A link that asks for others gets a boot instead, unless it
 * names the state too.
 *
 * @throws ByreError SNAPSHOT_NOT_FOUND for a snapshot that a link names; what opening the image meets.
 */
export async function lookForStart(base: BlockFile, wish: StartWish): Promise<BaseStart> {
  if (wish.raw)
    return plainStart(
      base.name,
      base.sizeBytes,
      wish.memoryMiB === undefined ? {} : { memoryMiB: wish.memoryMiB },
    );
  const image = await openQcow2(lent(base), { writable: false, backing: "none" });
  try {
    return await startOn(image, base.name, wish);
  } finally {
    await image.close();
  }
}

/**
 * As `lookForStart`, in a base that is open.
 *
 * @param diskName what an overlay over the disk of `image` calls it: that may be open as one of its snapshots has it.
 */
export async function startOn(image: Qcow2Device, diskName: string, wish: StartWish): Promise<BaseStart> {
  const said = metadataIn(image);
  const asks = applianceConfiguration(said);
  const { memoryMiB, diskOnly = false } = wish;
  const booted = {
    snapshot: undefined,
    applianceName: said.get("appliance.name"),
    backingName: diskName,
    backingFormat: "qcow2" as const,
    sizeBytes: image.sizeBytes,
    startsAtOnce: false,
    configuration: { ...asks.configuration, ...(memoryMiB !== undefined && { memoryMiB }) },
    display: asks.display,
    network: offered(wish.network ?? asks.network),
    metadata: new Map([...said].filter(([key]) => !NOT_FOR_OVERLAYS.includes(key))),
    notes: asks.notes,
  };
  const wanted = wish.snapshot ?? said.get("machine.snapshot");
  if (wanted === undefined) return booted;
  const found = findSnapshot(image.snapshots, wanted);
  if (!found) {
    const name = typeof wanted === "string" ? wanted : wanted.name;
    if (wish.snapshot !== undefined) throw noSuch(image, name);
    const note = `${image.name} says to start from its saved state "${quoted(name)}", which it does not have.`;
    return { ...booted, notes: [...asks.notes, note] };
  }
  const { id, name, diskBytes } = found;
  const atSnapshot = {
    ...booted,
    snapshot: { id, name, ...(diskOnly && { diskOnly }) },
    backingName: (await isDiskOf(image, id)) ? diskName : nameAtSnapshot(image.name, id),
    sizeBytes: diskBytes,
  };
  const state = diskOnly ? undefined : await readStateHeader(image, id);
  if (!state) return atSnapshot;
  // Whatever the image asks for besides, the state brings its own.
  const { configuration, drives } = state;
  const notes: string[] = [];
  if (memoryMiB !== undefined && memoryMiB !== configuration.memoryMiB)
    notes.push(
      `The saved state "${quoted(name)}" has ${configuration.memoryMiB} MiB of memory, so the link's ${memoryMiB} MiB were left out.`,
    );
  // A guest looks for its disks when it boots.
  if (wish.secondDisk && !drives.includes("hdb"))
    notes.push(
      `The saved state "${quoted(name)}" knows of no second disk: the machine finds it after a reset.`,
    );
  if (notes.length > 0 && wish.snapshot === undefined) return booted;
  return { ...atSnapshot, startsAtOnce: true, configuration, notes };
}

/** The start of a disk that says nothing of itself. */
export function plainStart(
  name: string,
  sizeBytes: number,
  configuration: Partial<MachineConfiguration>,
): BaseStart {
  return {
    snapshot: undefined,
    applianceName: undefined,
    backingName: name,
    backingFormat: "raw",
    sizeBytes,
    startsAtOnce: false,
    configuration,
    display: undefined,
    network: undefined,
    metadata: new Map(),
    notes: [],
  };
}

/** To have none is nothing to be asked about. */
function offered(network: NetworkChoice | undefined): NetworkChoice | undefined {
  return network?.kind === "off" ? undefined : network;
}

/** What the image says of itself. What it says badly is no reason not to run it. */
function metadataIn(image: Qcow2Device): ReadonlyMap<string, string> {
  try {
    return metadataOf(image.header, image.name);
  } catch (error) {
    const { code } = toByreError(error);
    if (code === "METADATA_INVALID" || code === "UNSUPPORTED_VERSION") return new Map();
    throw error;
  }
}

function noSuch({ name: file, snapshots }: Qcow2Device, snapshot: string): ByreError {
  const names = snapshots.slice(0, NAMES_SHOWN).map(({ name }) => `"${quoted(name)}"`);
  const others = snapshots.length - names.length;
  const there = names.length === 0 ? "none" : `${names.join(", ")}${others > 0 ? ` and ${others} more` : ""}`;
  return new ByreError(
    "SNAPSHOT_NOT_FOUND",
    `${file} has no snapshot "${quoted(snapshot)}". It has ${there}.`,
    {
      file,
      snapshot,
    },
  );
}

/** Names of snapshots in a message; a stranger's image may have thousands. */
const NAMES_SHOWN = 10;

/**
 * Which snapshot of a base is meant. By a link or the base itself: the one with this id, else the newest of this name.
 * By a machine that was made on one: that very one, else, of a base that was made anew, the newest of its name.
 */
export function findSnapshot<Snapshot extends { readonly id: string; readonly name: string }>(
  snapshots: readonly Snapshot[],
  wanted: string | BaseSnapshot,
): Snapshot | undefined {
  if (typeof wanted === "string")
    return snapshots.find(({ id }) => id === wanted) ?? newestNamed(snapshots, wanted);
  const same = snapshots.find(({ id, name }) => id === wanted.id && name === wanted.name);
  return same ?? newestNamed(snapshots, wanted.name);
}

function newestNamed<Snapshot extends { readonly name: string }>(
  snapshots: readonly Snapshot[],
  wanted: string,
): Snapshot | undefined {
  return snapshots.findLast(({ name }) => name === wanted);
}

/** The same file, for a device that is not to close it. */
function lent(file: BlockFile): BlockFile {
  const readOnly = () => {
    throw new ByreError("READ_ONLY", `${file.name} is only read.`, { file: file.name });
  };
  return {
    name: file.name,
    sizeBytes: file.sizeBytes,
    writable: false,
    transactional: file.transactional,
    dirtyBytes: 0,
    readNow: (offsetBytes, target) => file.readNow(offsetBytes, target),
    read: (offsetBytes, target) => file.read(offsetBytes, target),
    load: (offsetBytes, lengthBytes) => file.load(offsetBytes, lengthBytes),
    canWriteNow: () => false,
    write: readOnly,
    truncate: readOnly,
    forget: readOnly,
    flush: async () => {},
    close: async () => {},
  };
}
