import type { Metadata } from "../../disk/index.ts";
import type { MachineSettings } from "../library/machine-record.ts";

/**
 * What an image says of itself, with these settings as what it asks for. A network is left out: whom a person trusts
 * with what their machine sends is their own affair.
 */
export function withSettings(metadata: Metadata, settings: MachineSettings): Map<string, string> {
  const { memoryMiB, vgaMemoryMiB, acpi, bootOrder, display } = settings;
  const next = new Map(metadata);
  if (memoryMiB !== undefined) next.set("machine.memory", String(memoryMiB));
  if (vgaMemoryMiB !== undefined) next.set("machine.vga-memory", String(vgaMemoryMiB));
  if (acpi !== undefined) next.set("machine.acpi", acpi ? "on" : "off");
  if (bootOrder !== undefined) next.set("machine.boot", bootOrder);
  if (display !== undefined) next.set("machine.display", display);
  return next;
}
