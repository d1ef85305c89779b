import type { FileIdentity } from "../../disk/index.ts";
import type { DisplayChoice, MachineConfiguration, NetworkChoice } from "../../emulator/index.ts";

/** Where the bytes of a base come from. An imported file never changes; an address may. */
export type BaseSource = { readonly kind: "url"; readonly url: string } | ImportSource;

/** A file that was copied into this browser, or is being copied. */
export interface ImportSource {
  readonly kind: "import";
  readonly fileId: string;
  /** When the person's file was last changed, to know it again while the copy is not whole. Undefined for what the page made. */
  readonly lastModifiedMs?: number;
}

/** One file of the chain below a machine's overlay, pinned: nothing else is ever put in its place. */
export interface PinnedFile {
  /** The name that the image above it asks for, and that messages use. */
  readonly name: string;
  readonly source: BaseSource;
  readonly identity: FileIdentity;
  /** Default: qcow2. */
  readonly format?: "raw";
  /** The internal snapshot that the image above it is over; undefined for its disk as it is. */
  readonly snapshot?: string | undefined;
}

/** Minutes between the saves that a machine makes by itself; 0 for none. */
export const AUTOSAVE_MINUTES = [0, 1, 5, 15] as const;
export type AutosaveMinutes = (typeof AUTOSAVE_MINUTES)[number];
export const DEFAULT_AUTOSAVE_MINUTES: AutosaveMinutes = 5;

/** A saved state in a machine's own overlay. An id is used again once its state is deleted; with the time it is not. */
export interface StateReference {
  readonly id: string;
  /** When it was saved, in milliseconds since 1970. */
  readonly atMs: number;
}

/** The internal snapshot of the base that an overlay was made on, and that the machine starts from. */
export interface BaseSnapshot {
  readonly id: string;
  readonly name: string;
  /** Its disk is booted and its state left alone: a person chose so. */
  readonly diskOnly?: boolean;
}

/** What is in a machine's drives beside its own disk, pinned as its base is. */
export interface RecordDrives {
  /** A second disk: a base of its own, and an overlay with what the guest wrote to it. */
  readonly hdb?: {
    readonly base: PinnedFile;
    readonly behindBase: readonly PinnedFile[];
    readonly overlayFileId: string;
  };
  /** Raw images. */
  readonly cdrom?: PinnedFile;
  readonly floppy?: PinnedFile;
}

/** What a person chose in the place of what the appliance asks for. What is undefined is as the appliance has it. */
export interface MachineSettings extends Partial<Readonly<MachineConfiguration>> {
  readonly network?: NetworkChoice;
  readonly display?: DisplayChoice;
}

/** A file that was made of a machine, by which it is known again on a server. */
export interface ExportedFile {
  readonly fileName: string;
  readonly sizeBytes: number;
  /** SHA-256 of its first 64 KiB, in hex. */
  readonly beginning: string;
  /** Names of the saved states in it that a machine can go on from. */
  readonly states: readonly string[];
}

/** A machine that the browser keeps: a base, and an overlay with all that the guest wrote. */
export interface MachineRecord {
  readonly id: string;
  readonly name: string;
  /** Picture that its image has, as a `data:` URL; a stranger's text until `readIcon` has looked into it. */
  readonly icon?: string | undefined;
  /** Milliseconds since 1970. */
  readonly createdAt: number;
  readonly lastUsedAt: number;
  /** The base, then what is behind it, in the order of the chain. Never empty. */
  readonly base: PinnedFile;
  readonly behindBase: readonly PinnedFile[];
  readonly overlayFileId: string;
  /** The base is this medium, and the overlay a disk of the machine's own with nothing behind it. Undefined: the base is its disk. */
  readonly bootsFrom?: "cdrom" | "floppy" | undefined;
  /** The person stopped the copying of its files into this browser; they are read from where they are. */
  readonly importPaused?: boolean | undefined;
  /** What the appliance asks for, or the saved state that the machine was made on. */
  readonly configuration: Partial<MachineConfiguration>;
  /** What the appliance asks to be shown. Default: both. */
  readonly display?: DisplayChoice | undefined;
  /** The network that the image or the link names. It is off until the person chooses it in the settings. */
  readonly offeredNetwork?: NetworkChoice | undefined;
  /** Takes effect with the next start; the network at once. */
  readonly settings?: MachineSettings | undefined;
  readonly drives?: RecordDrives | undefined;
  /** The base is taken as it is in this snapshot. */
  readonly baseSnapshot?: BaseSnapshot | undefined;
  /** Where to go on: the machine was suspended, or made from a saved state. */
  readonly suspended?: StateReference | undefined;
  /** Default: `DEFAULT_AUTOSAVE_MINUTES`. */
  readonly autosaveMinutes?: AutosaveMinutes | undefined;
  /** What its appliance says when it first runs was shown. */
  readonly greeted?: boolean | undefined;
  /** The last file made of it to be shared. */
  readonly shared?: ExportedFile | undefined;
  /** Since when the machine has been on, in milliseconds since 1970; undefined once it is off. */
  readonly openedAt?: number | undefined;
  /** The state of its own that it was started from or put back to since, while it is on. */
  readonly startedFrom?: StateReference | undefined;
}

export const MAX_NAME_LENGTH = 80;

/** Makes a machine's name of what was typed or of a file name: one line, no controls, not endless. */
export function machineName(text: string): string {
  const line = text
    .replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]+/gu, " ")
    .replace(/\s+/g, " ")
    .trim();
  return [...line].slice(0, MAX_NAME_LENGTH).join("").trim();
}

/** A name for a machine made from `fileName`, unlike all in `taken`. */
export function nameForMachine(fileName: string, taken: readonly string[]): string {
  const base = machineName(fileName.replace(/\.(qcow2?|img|raw|iso|ima|vfd|flp)$/i, "")) || "Machine";
  if (!taken.includes(base)) return base;
  for (let number = 2; ; number++) {
    const name = `${base} ${number}`;
    if (!taken.includes(name)) return name;
  }
}

/**
 * Files in the block store that a machine needs: its overlays, which are its alone, and imported files, which machines
 * made of its saved states need too.
 */
export function ownFileIds({ base, behindBase, overlayFileId, drives = {} }: MachineRecord): string[] {
  const { hdb, cdrom, floppy } = drives;
  const pins = [base, ...behindBase, ...(hdb ? [hdb.base, ...hdb.behindBase] : []), cdrom, floppy];
  const imported = pins.flatMap((pin) => (pin?.source.kind === "import" ? [pin.source.fileId] : []));
  // What a machine boots from is its base and in a drive too.
  return [...new Set([overlayFileId, ...(hdb ? [hdb.overlayFileId] : []), ...imported])];
}

/**
 * Which machine each file counts for: an imported base that several were made on counts once, for the first.
 *
 * @returns machine ids by file id.
 */
export function ownersOf(records: readonly MachineRecord[]): ReadonlyMap<string, string> {
  const owners = new Map<string, string>();
  for (const record of [...records].sort((a, b) => a.createdAt - b.createdAt))
    for (const fileId of ownFileIds(record)) if (!owners.has(fileId)) owners.set(fileId, record.id);
  return owners;
}

/** 96 random bits: short enough for an address, and no two alike. */
export function newId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(12));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
