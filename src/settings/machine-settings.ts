import { ByreError } from "../../disk/index.ts";
import {
  DEFAULT_CONFIGURATION,
  type DisplayChoice,
  type MachineConfiguration,
  type NetworkChoice,
  networkChoiceText,
  parseNetworkChoice,
} from "../../emulator/index.ts";
import type { MachineRecord, MachineSettings } from "../library/machine-record.ts";

/** Everything that a machine is set to. */
export interface CompleteSettings extends MachineConfiguration {
  readonly network: NetworkChoice;
  readonly display: DisplayChoice;
}

/** What an appliance asks for, as it is kept with a machine. */
export type ApplianceWishes = Pick<MachineRecord, "configuration" | "display" | "offeredNetwork">;

/** Below 16 MiB SeaBIOS has no room; v86 has no addresses for 2 GiB. */
export const MEMORY_LIMITS_MIB = { min: 16, max: 2047 } as const;
export const VGA_MEMORY_LIMITS_MIB = { min: 1, max: 256 } as const;

const BOOT_ORDERS: readonly MachineConfiguration["bootOrder"][] = ["disk", "cdrom", "floppy"];
const DISPLAYS: readonly DisplayChoice[] = ["screen", "terminal", "both"];

/** What the appliance has by itself. Its network is off: what it asks for there is an offer to the person. */
export function applianceSettings({ configuration, display }: ApplianceWishes): CompleteSettings {
  return { ...DEFAULT_CONFIGURATION, ...configuration, network: { kind: "off" }, display: display ?? "both" };
}

/** What a machine is set to: what the person chose, and for the rest what the appliance has. */
export function settingsOf(wishes: ApplianceWishes, chosen: MachineSettings | undefined): CompleteSettings {
  return { ...applianceSettings(wishes), ...withoutGaps(chosen ?? {}) };
}

/** The part of the settings that a machine is built with. */
export function configurationOf(settings: CompleteSettings): MachineConfiguration {
  const { memoryMiB, vgaMemoryMiB, acpi, bootOrder } = settings;
  return { memoryMiB, vgaMemoryMiB, acpi, bootOrder };
}

/**
 * What was chosen, held against what there can be; anything else that stands there is left out.
 *
 * @throws ByreError INVALID_ARGUMENT saying what cannot be.
 */
export function checkedSettings(chosen: MachineSettings): MachineSettings {
  const { memoryMiB, vgaMemoryMiB, acpi, bootOrder, network, display } = chosen;
  within("memoryMiB", memoryMiB, MEMORY_LIMITS_MIB);
  within("vgaMemoryMiB", vgaMemoryMiB, VGA_MEMORY_LIMITS_MIB);
  if (acpi !== undefined && typeof acpi !== "boolean") throw refused("acpi", acpi, "true or false");
  oneOf("bootOrder", bootOrder, BOOT_ORDERS);
  oneOf("display", display, DISPLAYS);
  const parsed = network && parseNetworkChoice(networkChoiceText(network));
  if (network && !parsed)
    throw refused(
      "network",
      networkChoiceText(network),
      "off, fetch, or a relay's address that begins with ws://, wss://, wisp:// or wisps://",
    );
  return withoutGaps({ memoryMiB, vgaMemoryMiB, acpi, bootOrder, network: parsed, display });
}

/** A field that is undefined would hide what the appliance has. */
function withoutGaps(
  settings: {
    readonly [Name in keyof MachineSettings]: MachineSettings[Name] | undefined;
  },
): MachineSettings {
  return Object.fromEntries(Object.entries(settings).filter(([, value]) => value !== undefined));
}

function within(
  name: string,
  value: number | undefined,
  { min, max }: { readonly min: number; readonly max: number },
): void {
  if (value === undefined || (Number.isInteger(value) && value >= min && value <= max)) return;
  throw refused(name, value, `a whole number from ${min} to ${max}`);
}

function oneOf(name: string, value: string | undefined, values: readonly string[]): void {
  if (value !== undefined && !values.includes(value)) throw refused(name, value, values.join(", "));
}

function refused(name: string, value: unknown, words: string): ByreError {
  return new ByreError("INVALID_ARGUMENT", `${name} is ${String(value).slice(0, 80)}; it must be ${words}.`, {
    [name]: String(value).slice(0, 80),
  });
}
