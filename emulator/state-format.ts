import { ByreError } from "../disk/index.ts";
import { checkConfiguration } from "./configuration.ts";
import type { MachineConfiguration, Thumbnail } from "./machine.ts";

/**
 * A saved machine, as it lies in the VM state area of a snapshot (docs/vmstate.md): a header, then the
 * guest's memory byte for byte, then the state of everything else, then fingerprints. Memory is always at the
 * same place, so that a save shares every cluster that has not changed with the save before it.
 */

const MAGIC = "BYREVMST";
export const STATE_FORMAT_VERSION = 1;
/** The largest cluster: so every extent begins with a cluster, whatever the image's are. */
export const EXTENT_ALIGNMENT_BYTES = 2 * 1024 * 1024;
export const MEMORY_OFFSET_BYTES = EXTENT_ALIGNMENT_BYTES;
const FIXED_BYTES = MAGIC.length + 8;
/** More than any header needs; bounds what a stranger's file can make us parse. */
export const MAX_HEADER_BYTES = 64 * 1024;
const MAX_STATE_BYTES = 4 * 1024 ** 3;
/** v86 keeps VGA memory there, 256 MiB at most, and the contents of two floppy disks. */
const MAX_DEVICE_BYTES = 320 * 1024 * 1024;
export const MAX_DESCRIPTION_CHARACTERS = 4096;
/** A screenshot of 240 by 180 points is well under it in every format. */
export const MAX_THUMBNAIL_BYTES = 24 * 1024;
/** Several screens of text. */
export const MAX_SERIAL_TAIL_CHARACTERS = 8192;
/** QEMU's ids are numbers of ten digits at most; the format allows 65535 bytes. */
const MAX_ID_CHARACTERS = 255;

const MIB = 1024 * 1024;

/** Bytes of a state, from its beginning. */
export interface StateExtent {
  readonly offsetBytes: number;
  readonly lengthBytes: number;
}

/** What the header says. */
export interface StateHeader {
  /** Version of the emulator; a state is only taken by the one that made it. */
  readonly emulator: string;
  readonly configuration: MachineConfiguration;
  /** Names of the drives that were there: "hda", "hdb", "cdrom", "floppy". */
  readonly drives: readonly string[];
  readonly memory: StateExtent;
  readonly device: StateExtent;
  /** Fingerprints of the clusters of memory and device. */
  readonly prints?: StateExtent;
  /** Milliseconds since 1970. */
  readonly savedAtMs: number;
  /** What the person wrote of it. */
  readonly description?: string;
  readonly thumbnail?: Thumbnail;
  /** The end of what the first serial port had printed. */
  readonly serialTail?: string;
  /** Ids of the snapshots that the machine's other disks have of the same moment, by drive. */
  readonly disks?: Readonly<Record<string, string>>;
}

const THUMBNAIL_TYPES: readonly string[] = ["image/png", "image/webp", "image/jpeg"];

/** Encodes a header. Picture and text that do not fit are left out: first the picture. */
export function encodeStateHeader(header: StateHeader): Uint8Array<ArrayBuffer> {
  const { thumbnail, ...plain } = header;
  const { serialTail: _, ...bare } = plain;
  const picture =
    thumbnail && thumbnail.bytes.length <= MAX_THUMBNAIL_BYTES
      ? { thumbnail: { type: thumbnail.type, base64: toBase64(thumbnail.bytes) } }
      : {};
  for (const value of [{ ...plain, ...picture }, plain, bare]) {
    const json = new TextEncoder().encode(JSON.stringify(value));
    if (FIXED_BYTES + json.length > MAX_HEADER_BYTES) continue;
    const bytes = new Uint8Array(FIXED_BYTES + json.length);
    bytes.set(new TextEncoder().encode(MAGIC));
    const view = new DataView(bytes.buffer);
    view.setUint32(MAGIC.length, STATE_FORMAT_VERSION);
    view.setUint32(MAGIC.length + 4, json.length);
    bytes.set(json, FIXED_BYTES);
    return bytes;
  }
  throw new ByreError("TOO_LARGE", "What is to be said of a saved state is more than its header holds.");
}

/** @throws ByreError INVALID_ARGUMENT for a description that is too long. */
export function checkDescription(description: string | undefined): void {
  if (description === undefined || description.length <= MAX_DESCRIPTION_CHARACTERS) return;
  throw new ByreError(
    "INVALID_ARGUMENT",
    `A description has at most ${MAX_DESCRIPTION_CHARACTERS} characters; this one has ${description.length}.`,
    { characters: description.length },
  );
}

/**
 * Parses and bounds a header.
 *
 * @param bytes the state from its beginning: all of the header, with what follows or without.
 * @param stateBytes length of the whole state.
 * @param name the snapshot's, for messages.
 * @throws ByreError STATE_INVALID naming what is wrong; UNSUPPORTED_VERSION for a later format.
 */
export function parseStateHeader(bytes: Uint8Array, stateBytes: number, name: string): StateHeader {
  const fail = (what: string, cause?: unknown): never => {
    throw new ByreError(
      "STATE_INVALID",
      `The saved state "${name}" cannot be used: ${what}`,
      { snapshot: name },
      cause,
    );
  };
  if (bytes.length < FIXED_BYTES || new TextDecoder().decode(bytes.subarray(0, MAGIC.length)) !== MAGIC)
    fail("it was not saved by this program.");
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const version = view.getUint32(MAGIC.length);
  if (version !== STATE_FORMAT_VERSION)
    throw new ByreError(
      "UNSUPPORTED_VERSION",
      `The saved state "${name}" is of format ${version}; format ${STATE_FORMAT_VERSION} is read here.`,
      { snapshot: name, version },
    );
  const length = view.getUint32(MAGIC.length + 4);
  if (length > MAX_HEADER_BYTES - FIXED_BYTES || FIXED_BYTES + length > bytes.length)
    fail(`its header says ${length} bytes of text.`);
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder().decode(bytes.subarray(FIXED_BYTES, FIXED_BYTES + length)));
  } catch (error) {
    fail("its header is damaged.", error);
  }
  if (!isStoredHeader(value)) return fail("its header is not what one says.");
  if (stateBytes > MAX_STATE_BYTES) fail(`it has ${stateBytes} bytes.`);
  let endBytes = MEMORY_OFFSET_BYTES;
  for (const extent of [value.memory, value.device, value.prints]) {
    if (!extent) continue;
    // In this order, each where the one before ends: nothing overlaps, and each begins with a cluster.
    if (extent.offsetBytes !== alignExtent(endBytes))
      fail(`its header says offset ${extent.offsetBytes}, not ${alignExtent(endBytes)}.`);
    endBytes = extent.offsetBytes + extent.lengthBytes;
    if (endBytes > stateBytes) fail(`it has ${stateBytes} bytes, and its header says ${endBytes}.`);
  }
  try {
    checkConfiguration(value.configuration);
  } catch (error) {
    fail("no machine can be as its header says.", error);
  }
  if (value.memory.lengthBytes !== value.configuration.memoryMiB * MIB)
    fail(`it has ${value.memory.lengthBytes} bytes of memory, and its header says otherwise.`);
  if (value.device.lengthBytes > MAX_DEVICE_BYTES)
    fail(`its header says ${value.device.lengthBytes} bytes of devices.`);
  const { thumbnail, ...plain } = value;
  if (!thumbnail) return plain;
  const picture = fromBase64(thumbnail.base64);
  if (!picture) return fail("its picture is damaged.");
  return { ...plain, thumbnail: { type: thumbnail.type, bytes: picture } };
}

/** Where an extent begins that is to come after a byte. */
export function alignExtent(offsetBytes: number): number {
  return Math.ceil(offsetBytes / EXTENT_ALIGNMENT_BYTES) * EXTENT_ALIGNMENT_BYTES;
}

type StoredHeader = Omit<StateHeader, "thumbnail"> & {
  readonly thumbnail?: { readonly type: Thumbnail["type"]; readonly base64: string };
};

function isStoredHeader(value: unknown): value is StoredHeader {
  const header = value as Partial<StoredHeader> | null;
  return (
    typeof header === "object" &&
    typeof header?.emulator === "string" &&
    isSize(header.savedAtMs) &&
    Array.isArray(header.drives) &&
    header.drives.every((drive) => typeof drive === "string") &&
    isExtent(header.memory) &&
    isExtent(header.device) &&
    isConfiguration(header.configuration) &&
    (header.prints === undefined || isExtent(header.prints)) &&
    isText(header.description, MAX_DESCRIPTION_CHARACTERS) &&
    isText(header.serialTail, MAX_SERIAL_TAIL_CHARACTERS) &&
    isThumbnail(header.thumbnail) &&
    isDisks(header.disks)
  );
}

function isConfiguration(configuration: Partial<MachineConfiguration> | undefined): boolean {
  return (
    typeof configuration === "object" &&
    isSize(configuration?.memoryMiB) &&
    isSize(configuration.vgaMemoryMiB) &&
    typeof configuration.acpi === "boolean" &&
    ["disk", "cdrom", "floppy"].includes(configuration.bootOrder ?? "")
  );
}

function isThumbnail(thumbnail: StoredHeader["thumbnail"]): boolean {
  if (thumbnail === undefined) return true;
  return (
    typeof thumbnail === "object" &&
    THUMBNAIL_TYPES.includes(thumbnail?.type) &&
    typeof thumbnail.base64 === "string" &&
    thumbnail.base64.length <= Math.ceil(MAX_THUMBNAIL_BYTES / 3) * 4
  );
}

function isDisks(disks: StoredHeader["disks"]): boolean {
  if (disks === undefined) return true;
  return (
    typeof disks === "object" &&
    disks !== null &&
    Object.values(disks).every((id) => typeof id === "string" && id.length <= MAX_ID_CHARACTERS)
  );
}

function isText(text: string | undefined, mostCharacters: number): boolean {
  return text === undefined || (typeof text === "string" && text.length <= mostCharacters);
}

function isExtent(extent: StateExtent | undefined): boolean {
  return isSize(extent?.offsetBytes) && isSize(extent?.lengthBytes);
}

function isSize(value: number | undefined): boolean {
  return Number.isSafeInteger(value) && Number(value) >= 0;
}

function toBase64(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return btoa(text);
}

function fromBase64(base64: string): Uint8Array<ArrayBuffer> | undefined {
  try {
    return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  } catch {
    return undefined;
  }
}
