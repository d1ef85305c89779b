import type { FileIdentity } from "../../disk/index.ts";
import type { MachineConfiguration } from "../../emulator/index.ts";

/** Where the bytes of a base come from. An imported file never changes; an address may. */
export type BaseSource =
  | { readonly kind: "url"; readonly url: string }
  | { readonly kind: "import"; readonly fileId: string };

/** One file of the chain below a machine's overlay, pinned: nothing else is ever put in its place. */
export interface PinnedFile {
  /** The name that the image above it asks for, and that messages use. */
  readonly name: string;
  readonly source: BaseSource;
  readonly identity: FileIdentity;
}

/** A machine that the browser keeps: a base, and an overlay with all that the guest wrote. */
export interface MachineRecord {
  readonly id: string;
  readonly name: string;
  /** Milliseconds since 1970. */
  readonly createdAt: number;
  readonly lastUsedAt: number;
  /** The base, then what is behind it, in the order of the chain. Never empty. */
  readonly base: PinnedFile;
  readonly behindBase: readonly PinnedFile[];
  readonly overlayFileId: string;
  readonly configuration: Partial<MachineConfiguration>;
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
  const base = machineName(fileName.replace(/\.(qcow2?|img|raw)$/i, "")) || "Machine";
  if (!taken.includes(base)) return base;
  for (let number = 2; ; number++) {
    const name = `${base} ${number}`;
    if (!taken.includes(name)) return name;
  }
}

/** Files in the block store that belong to a machine alone. */
export function ownFileIds(record: MachineRecord): string[] {
  const imported = [record.base, ...record.behindBase].flatMap(({ source }) =>
    source.kind === "import" ? [source.fileId] : [],
  );
  return [record.overlayFileId, ...imported];
}

/** 96 random bits: short enough for an address, and no two alike. */
export function newId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(12));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
