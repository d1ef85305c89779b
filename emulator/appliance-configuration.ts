import { ByreError, type Metadata, problemWithValue } from "../disk/index.ts";
import { checkConfiguration } from "./configuration.ts";
import { DEFAULT_CONFIGURATION, type MachineConfiguration } from "./machine.ts";

/** The machine that an image asks for. */
export interface ApplianceConfiguration {
  /** What it asks for and can have. */
  readonly configuration: Partial<MachineConfiguration>;
  /** What it asks for and cannot have, in sentences; it was passed over. */
  readonly notes: readonly string[];
}

/** The keys of docs/metadata.md that are about the machine, and what each means. */
const READERS: Readonly<Record<string, (value: string) => Partial<MachineConfiguration>>> = {
  "machine.memory": (value) => ({ memoryMiB: Number(value) }),
  "machine.vga-memory": (value) => ({ vgaMemoryMiB: Number(value) }),
  "machine.acpi": (value) => ({ acpi: value === "on" }),
  "machine.boot": (value) => ({ bootOrder: value as MachineConfiguration["bootOrder"] }),
};

/** Reads the machine that an image wants out of its metadata: a stranger's word, held against what a machine can be. */
export function applianceConfiguration(metadata: Metadata): ApplianceConfiguration {
  let configuration: Partial<MachineConfiguration> = {};
  const notes: string[] = [];
  for (const [key, read] of Object.entries(READERS)) {
    const value = metadata.get(key);
    if (value === undefined) continue;
    const problem = problemWithValue(key, value) ?? problemWithPart(read(value));
    if (problem === undefined) configuration = { ...configuration, ...read(value) };
    else notes.push(`The image asks for ${key}=${shortened(value)}, which was left out: it ${problem}.`);
  }
  return { configuration, notes };
}

function problemWithPart(part: Partial<MachineConfiguration>): string | undefined {
  try {
    checkConfiguration({ ...DEFAULT_CONFIGURATION, ...part });
    return undefined;
  } catch (error) {
    if (error instanceof ByreError && error.code === "INVALID_ARGUMENT")
      return "is more or less than there can be";
    throw error;
  }
}

/** For a message: no controls, and not endless. */
function shortened(value: string): string {
  return JSON.stringify(value.slice(0, 40)).slice(1, -1);
}
