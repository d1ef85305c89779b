import { ByreError } from "../disk/index.ts";
import type { MachineConfiguration } from "./machine.ts";

/** v86 has no address space for more: PCI devices begin above. */
const MAX_MEMORY_MIB = 2047;
/** What a BIOS and a boot sector need. */
const MIN_MEMORY_MIB = 1;
const MAX_VGA_MEMORY_MIB = 256;

/** v86's boot order: first device in the low four bits; 1 floppy, 2 disk, 3 CD. */
export const BOOT_ORDER = { disk: 0x132, cdrom: 0x123, floppy: 0x321 } as const;

/** @throws ByreError INVALID_ARGUMENT saying what is outside its bounds. */
export function checkConfiguration(configuration: MachineConfiguration): void {
  checkWithin("memoryMiB", configuration.memoryMiB, MIN_MEMORY_MIB, MAX_MEMORY_MIB);
  checkWithin("vgaMemoryMiB", configuration.vgaMemoryMiB, 1, MAX_VGA_MEMORY_MIB);
  if (!Object.hasOwn(BOOT_ORDER, configuration.bootOrder))
    throw new ByreError(
      "INVALID_ARGUMENT",
      `A machine boots from disk, cdrom or floppy, not ${configuration.bootOrder}.`,
    );
}

/** Whether a machine of one configuration can be used as one of another. */
export function sameConfiguration(a: MachineConfiguration, b: MachineConfiguration): boolean {
  return (
    a.memoryMiB === b.memoryMiB &&
    a.vgaMemoryMiB === b.vgaMemoryMiB &&
    a.acpi === b.acpi &&
    a.bootOrder === b.bootOrder
  );
}

function checkWithin(name: string, value: number, least: number, most: number): void {
  if (Number.isInteger(value) && value >= least && value <= most) return;
  throw new ByreError(
    "INVALID_ARGUMENT",
    `${name} is ${value}; it must be a whole number from ${least} to ${most}.`,
    { [name]: value },
  );
}
