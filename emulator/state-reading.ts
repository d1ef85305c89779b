import { ByreError, type Qcow2Device, type StateReader } from "../disk/index.ts";
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
  await reader.read(0, bytes);
  return parseStateHeader(bytes, reader.sizeBytes, reader.snapshot.name);
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
