import { ByreError } from "../disk/index.ts";
import type { MachineConfiguration } from "./machine.ts";

/**
 * A saved machine, as it lies in the VM state area of a snapshot (docs/vmstate.md): a header, then the
 * guest's memory byte for byte, then the state of everything else. Memory is always at the same place, so that
 * a save shares every cluster that has not changed with the save before it.
 */

const MAGIC = "BYREVMST";
export const STATE_FORMAT_VERSION = 1;
/** The largest cluster: so memory begins with a cluster, whatever the image's are. */
export const MEMORY_OFFSET_BYTES = 2 * 1024 * 1024;
const FIXED_BYTES = MAGIC.length + 8;
/** More than any header needs; bounds what a stranger's file can make us parse. */
export const MAX_HEADER_BYTES = 64 * 1024;
const MAX_STATE_BYTES = 4 * 1024 ** 3;

/** What the header says. Offsets from the state's beginning. */
export interface StateHeader {
  /** Version of the emulator; a state is only taken by the one that made it. */
  readonly emulator: string;
  readonly configuration: MachineConfiguration;
  /** Names of the drives that were there: "hda", "hdb", "cdrom", "floppy". */
  readonly drives: readonly string[];
  readonly memory: { readonly offsetBytes: number; readonly lengthBytes: number };
  readonly device: { readonly offsetBytes: number; readonly lengthBytes: number };
  /** Milliseconds since 1970. */
  readonly savedAtMs: number;
}

export function encodeStateHeader(header: StateHeader): Uint8Array<ArrayBuffer> {
  const json = new TextEncoder().encode(JSON.stringify(header));
  const bytes = new Uint8Array(FIXED_BYTES + json.length);
  bytes.set(new TextEncoder().encode(MAGIC));
  const view = new DataView(bytes.buffer);
  view.setUint32(MAGIC.length, STATE_FORMAT_VERSION);
  view.setUint32(MAGIC.length + 4, json.length);
  bytes.set(json, FIXED_BYTES);
  return bytes;
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
  const fail = (what: string): never => {
    throw new ByreError("STATE_INVALID", `The saved state "${name}" cannot be used: ${what}`, {
      snapshot: name,
    });
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
  } catch {
    fail("its header is damaged.");
  }
  if (!isStateHeader(value)) return fail("its header is not what one says.");
  for (const { offsetBytes, lengthBytes } of [value.memory, value.device])
    if (offsetBytes + lengthBytes > stateBytes || stateBytes > MAX_STATE_BYTES)
      fail(`it has ${stateBytes} bytes, and its header says more.`);
  return value;
}

function isStateHeader(value: unknown): value is StateHeader {
  const header = value as Partial<StateHeader> | null;
  const configuration = header?.configuration as Partial<MachineConfiguration> | undefined;
  return (
    typeof header === "object" &&
    typeof header?.emulator === "string" &&
    typeof header.savedAtMs === "number" &&
    Array.isArray(header.drives) &&
    header.drives.every((drive) => typeof drive === "string") &&
    isExtent(header.memory) &&
    isExtent(header.device) &&
    isSize(configuration?.memoryMiB) &&
    isSize(configuration?.vgaMemoryMiB) &&
    typeof configuration?.acpi === "boolean" &&
    ["disk", "cdrom", "floppy"].includes(configuration.bootOrder ?? "")
  );
}

function isExtent(extent: StateHeader["memory"] | undefined): boolean {
  return isSize(extent?.offsetBytes) && isSize(extent?.lengthBytes);
}

function isSize(value: number | undefined): boolean {
  return Number.isSafeInteger(value) && Number(value) >= 0;
}
