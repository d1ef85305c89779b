import { ByreError } from "../disk/index.ts";
import { checkConfiguration } from "./configuration.ts";
import { buildEmulator } from "./emulator-parts.ts";
import {
  DEFAULT_CONFIGURATION,
  type Machine,
  type MachineConfiguration,
  type MachineOptions,
} from "./machine.ts";
import { openDrives } from "./machine-drives.ts";
import { SavedStates } from "./saved-states.ts";
import { directPacker } from "./state-packer.ts";
import { readStateHeader, stateProblem } from "./state-reading.ts";
import { V86Machine } from "./v86-machine.ts";

/**
 * Sets up a machine and starts it, from its disks or from a saved state. v86 itself is loaded by the first call.
 *
 * @throws ByreError INVALID_ARGUMENT for a configuration outside its bounds, FIRMWARE when firmware or wasm are
 *   not what they should be, what reading the disks' first sectors met; and as `Machine.load`.
 */
export async function startMachine(options: MachineOptions): Promise<Machine> {
  const { startFrom, disks } = options;
  const saved = startFrom && (await readStateHeader(startFrom.device, startFrom.snapshot));
  const problem = saved && stateProblem(saved, startFrom.snapshot);
  // Before an emulator is built for nothing.
  if (problem) throw problem;
  const configuration = { ...DEFAULT_CONFIGURATION, ...options.configuration, ...saved?.configuration };
  checkConfiguration(configuration);
  checkFirmware(options);
  const kit = { ...options, drives: await openDrives(disks), screenElement: options.screenElement };
  const build = (wanted: MachineConfiguration) => buildEmulator(kit, wanted);
  const machine = new V86Machine({
    parts: await build(configuration),
    drives: kit.drives,
    states: new SavedStates(disks, options.packer ?? directPacker, () => kit.drives.used),
    screenElement: options.screenElement,
    network: options.network ?? { kind: "off" },
    build,
  });
  try {
    await machine.start(startFrom);
    return machine;
  } catch (error) {
    await machine.close();
    throw error;
  }
}

function checkFirmware({ firmware, wasm }: MachineOptions): void {
  const sizes = {
    bios: firmware.bios.byteLength,
    vgaBios: firmware.vgaBios.byteLength,
    wasm: wasm.byteLength,
  };
  for (const [name, size] of Object.entries(sizes)) {
    if (size > 0) continue;
    throw new ByreError("FIRMWARE", `The machine's ${name} is empty.`, { file: name });
  }
}
