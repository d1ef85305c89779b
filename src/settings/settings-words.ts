import type { DisplayChoice, MachineConfiguration, NetworkChoice } from "../../emulator/index.ts";

/** What is offered for memory, in MiB. */
const MEMORY_MIB = [16, 32, 64, 128, 256, 512, 1024];
const VGA_MEMORY_MIB = [1, 2, 4, 8, 16, 32, 64];

export interface Option<Value extends string> {
  readonly value: Value;
  readonly words: string;
}

/** Sizes to choose from, with those that are there already. */
export const memoryOptions = (present: readonly number[]) => sizes(MEMORY_MIB, present);
export const vgaMemoryOptions = (present: readonly number[]) => sizes(VGA_MEMORY_MIB, present);

export const BOOT_WORDS: Readonly<Record<MachineConfiguration["bootOrder"], string>> = {
  disk: "Disk",
  cdrom: "CD",
  floppy: "Floppy disk",
};

export const DISPLAY_WORDS: Readonly<Record<DisplayChoice, string>> = {
  both: "Screen and terminal",
  screen: "Screen",
  terminal: "Terminal",
};

/** All choices of a record of words, in its order. */
export function optionsOf<Value extends string>(words: Readonly<Record<Value, string>>): Option<Value>[] {
  return (Object.keys(words) as Value[]).map((value) => ({ value, words: words[value] }));
}

export function sizeWords(sizeMiB: number): string {
  return sizeMiB % 1024 === 0 ? `${sizeMiB / 1024} GiB` : `${sizeMiB} MiB`;
}

/** What a network is, as part of a sentence. */
export function networkWords(network: NetworkChoice): string {
  if (network.kind === "off") return "no network";
  return network.kind === "fetch" ? "the web, through this page" : `the relay ${network.url}`;
}

/** How a machine that runs differs from what it is set to, in words; empty where it does not. */
export function differences(running: MachineConfiguration, next: MachineConfiguration): string[] {
  const words: string[] = [];
  if (running.memoryMiB !== next.memoryMiB) words.push(`memory: ${sizeWords(running.memoryMiB)}`);
  if (running.vgaMemoryMiB !== next.vgaMemoryMiB)
    words.push(`graphics memory: ${sizeWords(running.vgaMemoryMiB)}`);
  if (running.bootOrder !== next.bootOrder) words.push(`starts from: ${BOOT_WORDS[running.bootOrder]}`);
  if (running.acpi !== next.acpi) words.push(`power management: ${running.acpi ? "on" : "off"}`);
  return words;
}

function sizes(offered: readonly number[], present: readonly number[]): Option<string>[] {
  const all = [...new Set([...offered, ...present])].sort((a, b) => a - b);
  return all.map((sizeMiB) => ({ value: String(sizeMiB), words: sizeWords(sizeMiB) }));
}
