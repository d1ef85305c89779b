import { ByreError } from "../disk/index.ts";
import { collectPanics, type PanicLog } from "./guest-crash.ts";
import { overrideIde } from "./ide-overrides.ts";
import {
  DEFAULT_CONFIGURATION,
  type Machine,
  type MachineConfiguration,
  type MachineOptions,
} from "./machine.ts";
import { type MachineDrives, openDrives } from "./machine-drives.ts";
import { SavedStates } from "./saved-states.ts";
import { mendTextDrawing } from "./text-drawing.ts";
import { checkInternals, type V86Emulator, type V86WasmImports } from "./v86-internals.ts";
import { V86Machine } from "./v86-machine.ts";

const MIB = 1024 * 1024;

/** v86 has no address space for more: PCI devices begin above. */
const MAX_MEMORY_MIB = 2047;
/** What a BIOS and a boot sector need. */
const MIN_MEMORY_MIB = 1;
const MAX_VGA_MEMORY_MIB = 256;

/** v86's boot order: first device in the low four bits; 1 floppy, 2 disk, 3 CD. */
const BOOT_ORDER = { disk: 0x132, cdrom: 0x123, floppy: 0x321 } as const;

/**
 * Sets up a machine and starts it. v86 itself is loaded by the first call.
 *
 * @throws ByreError INVALID_ARGUMENT for a configuration outside its bounds, FIRMWARE when firmware or wasm are
 *   not what they should be, or what reading the disks' first sectors met.
 */
export async function startMachine(options: MachineOptions): Promise<Machine> {
  const configuration = { ...DEFAULT_CONFIGURATION, ...options.configuration };
  checkConfiguration(configuration);
  checkFirmware(options);
  const drives = await openDrives(options.disks);
  const container = options.screenElement?.ownerDocument.createElement("div");
  if (container) {
    options.screenElement?.append(container);
    mendTextDrawing();
  }

  const panics: PanicLog = { last: undefined };
  let emulator: V86Emulator | undefined;
  try {
    emulator = await loadEmulator(options, configuration, drives, container, panics);
    checkInternals(emulator);
    const { devices } = emulator.v86.cpu;
    if (devices.ide?.secondary) overrideIde(devices.ide.secondary.master);
    drives.floppy?.inserted(() => devices.fdc.drives[0]?.get_buffer() ?? null);
    const states = new SavedStates(emulator, configuration, options.disks);
    const machine = new V86Machine(emulator, configuration, drives, states, container, panics);
    await machine.start();
    return machine;
  } catch (error) {
    await emulator?.destroy();
    container?.remove();
    throw error;
  }
}

async function loadEmulator(
  options: MachineOptions,
  configuration: MachineConfiguration,
  drives: MachineDrives,
  container: HTMLElement | undefined,
  panics: PanicLog,
): Promise<V86Emulator> {
  const { V86 } = await import("v86");
  let memory: WebAssembly.Memory | undefined;
  return new Promise((resolve, reject) => {
    const settings = {
      autostart: false,
      memory_size: configuration.memoryMiB * MIB,
      vga_memory_size: configuration.vgaMemoryMiB * MIB,
      acpi: configuration.acpi,
      boot_order: BOOT_ORDER[configuration.bootOrder],
      bios: { buffer: options.firmware.bios },
      vga_bios: { buffer: options.firmware.vgaBios },
      ...(drives.hda && { hda: drives.hda }),
      ...(drives.hdb && { hdb: drives.hdb }),
      ...(drives.cdrom && { cdrom: drives.cdrom }),
      ...(drives.floppy && { fda: { buffer: drives.floppy.image } }),
      // Text is drawn on the canvas with the guest's own font, so that one canvas is the whole screen.
      ...(container && { screen: { container, use_graphical_text: true } }),
      disable_speaker: !container,
      disable_mouse: !container,
      async wasm_fn(imports: V86WasmImports) {
        try {
          collectPanics(imports, () => memory, panics);
          const { instance } = await WebAssembly.instantiate(options.wasm, imports);
          memory = instance.exports.memory as WebAssembly.Memory;
          return instance.exports;
        } catch (cause) {
          reject(
            new ByreError(
              "FIRMWARE",
              "v86.wasm does not load: it is not the file of v86 0.5.462.",
              {},
              cause,
            ),
          );
          // v86 has no way to hear of it; the instance is dropped.
          return new Promise<never>(() => undefined);
        }
      },
    };
    // v86's types describe only disks by URL or buffer; it takes any object with this shape.
    const emulator = new V86(settings as never) as unknown as V86Emulator;
    emulator.add_listener("emulator-loaded", () => resolve(emulator));
  });
}

function checkConfiguration(configuration: MachineConfiguration): void {
  checkWithin("memoryMiB", configuration.memoryMiB, MIN_MEMORY_MIB, MAX_MEMORY_MIB);
  checkWithin("vgaMemoryMiB", configuration.vgaMemoryMiB, 1, MAX_VGA_MEMORY_MIB);
  if (!Object.hasOwn(BOOT_ORDER, configuration.bootOrder))
    throw new ByreError(
      "INVALID_ARGUMENT",
      `A machine boots from disk, cdrom or floppy, not ${configuration.bootOrder}.`,
    );
}

function checkWithin(name: string, value: number, least: number, most: number): void {
  if (Number.isInteger(value) && value >= least && value <= most) return;
  throw new ByreError(
    "INVALID_ARGUMENT",
    `${name} is ${value}; it must be a whole number from ${least} to ${most}.`,
    {
      [name]: value,
    },
  );
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
