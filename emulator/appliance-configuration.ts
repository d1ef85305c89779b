import { ByreError, type Metadata, problemWithValue } from "../disk/index.ts";
import { checkConfiguration } from "./configuration.ts";
import { DEFAULT_CONFIGURATION, type MachineConfiguration } from "./machine.ts";
import type { NetworkChoice } from "./machine-devices.ts";
import { parseNetworkChoice } from "./network-choice.ts";

/** What of a machine is shown: its screen, the terminal at its first serial port, or both side by side. */
export type DisplayChoice = "screen" | "terminal" | "both";

/** The machine that an image asks for. */
export interface ApplianceConfiguration {
  /** What it asks for and can have. */
  readonly configuration: Partial<MachineConfiguration>;
  readonly display?: DisplayChoice;
  /** An offer: whoever starts the machine leaves it off until the person agrees. */
  readonly network?: NetworkChoice;
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
  const wish = <Wish>(
    key: string,
    read: (value: string) => Wish,
    problemWith: (wish: Wish) => string | undefined,
  ) => {
    const value = metadata.get(key);
    if (value === undefined) return undefined;
    const wished = read(value);
    const problem = problemWithValue(key, value) ?? problemWith(wished);
    if (problem === undefined) return wished;
    notes.push(`The image asks for ${key}=${shortened(value)}, which was left out: it ${problem}.`);
    return undefined;
  };
  for (const [key, read] of Object.entries(READERS))
    configuration = { ...configuration, ...wish(key, read, problemWithPart) };
  const display = wish(
    "machine.display",
    (value) => value as DisplayChoice,
    () => undefined,
  );
  const network = wish("machine.network", parseNetworkChoice, (choice) =>
    choice ? undefined : "is no address of a relay",
  );
  return { configuration, notes, ...(display && { display }), ...(network && { network }) };
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
