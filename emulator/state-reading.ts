import { ByreError, type Qcow2Device, type StateReader } from "../disk/index.ts";
import type { SnapshotDescription } from "./machine.ts";
import { EMULATOR_VERSION } from "./state-capture.ts";
import { MAX_HEADER_BYTES, parseStateHeader, type StateHeader } from "./state-format.ts";

/**
 * The header of a saved state, as it says itself; whether it can be loaded is `stateProblem`'s to say.
 *
 * @param idOrName an id goes before a name.
 * @returns undefined for a snapshot without a machine's state.
 * @throws ByreError SNAPSHOT_NOT_FOUND, STATE_INVALID, UNSUPPORTED_VERSION, what reading meets.
 */
export async function readStateHeader(
  device: Qcow2Device,
  idOrName: string,
): Promise<StateHeader | undefined> {
  const reader = await device.openState(idOrName);
  return reader.sizeBytes === 0 ? undefined : readHeader(reader);
}

export async function readHeader(reader: StateReader): Promise<StateHeader> {
  const bytes = new Uint8Array(Math.min(MAX_HEADER_BYTES, reader.sizeBytes));
  try {
    await reader.read(0, bytes);
  } catch (error) {
    throw asStateError(error, reader.snapshot.name);
  }
  return parseStateHeader(bytes, reader.sizeBytes, reader.snapshot.name);
}

/** Damage to the image under a state is damage to the state; other errors stay as they are. */
export function asStateError(error: unknown, name: string): unknown {
  if (!(error instanceof ByreError) || error.code !== "CORRUPT") return error;
  return new ByreError(
    "STATE_INVALID",
    `The saved state "${name}" is damaged: ${error.message} Boot its disk as it was then instead.`,
    { snapshot: name },
    error,
  );
}

/** Whether an error says that a state cannot be loaded, though its disk may be. */
export function isStateProblem(error: unknown): error is ByreError {
  return (
    error instanceof ByreError &&
    ["STATE_INVALID", "STATE_MISMATCH", "UNSUPPORTED_VERSION"].includes(error.code)
  );
}

/**
 * What a saved state says of itself, for a list.
 *
 * @throws ByreError what reading meets; that it cannot be loaded is its `problem`.
 */
export async function describeState(
  device: Qcow2Device,
  { id, name }: { readonly id: string; readonly name: string },
): Promise<Pick<SnapshotDescription, "description" | "configuration" | "thumbnail" | "problem">> {
  try {
    const header = await readStateHeader(device, id);
    if (!header) return { description: "" };
    const { configuration, description = "", thumbnail } = header;
    const problem = stateProblem(header, name);
    return { description, configuration, ...(thumbnail && { thumbnail }), ...(problem && { problem }) };
  } catch (error) {
    if (!isStateProblem(error)) throw error;
    return { description: "", problem: error };
  }
}

/** Why this emulator cannot load a state: STATE_MISMATCH. Undefined when it can. */
export function stateProblem({ emulator }: StateHeader, name: string): ByreError | undefined {
  if (emulator === EMULATOR_VERSION) return undefined;
  return new ByreError(
    "STATE_MISMATCH",
    `The saved state "${name}" is of ${emulator}, and this is ${EMULATOR_VERSION}. Boot its disk as it was then instead.`,
    { snapshot: name, emulator },
  );
}
