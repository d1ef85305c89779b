import { ByreError } from "../disk/index.ts";
import { BOOT_ORDER } from "./configuration.ts";
import { mendDeviceStates } from "./device-mending.ts";
import { collectPanics, type PanicLog } from "./guest-crash.ts";
import { overrideIde } from "./ide-overrides.ts";
import type { MachineConfiguration, MachineFirmware } from "./machine.ts";
import type { MachineDrives } from "./machine-drives.ts";
import { silenceSoundErrors, silenceWorkletErrors } from "./sound.ts";
import { mendTextDrawing } from "./text-drawing.ts";
import { checkInternals, type V86Emulator, type V86WasmImports } from "./v86-internals.ts";

const MIB = 1024 * 1024;

/** What an emulator is made of, whatever its configuration. */
export interface EmulatorKit {
  readonly drives: MachineDrives;
  readonly firmware: MachineFirmware;
  readonly wasm: ArrayBuffer;
  readonly screenElement: HTMLElement | undefined;
}

/** An emulator and what came with it. */
export interface EmulatorParts {
  readonly emulator: V86Emulator;
  readonly configuration: MachineConfiguration;
  /** Holds its canvas; not in the page yet. */
  readonly container: HTMLElement | undefined;
  readonly panics: PanicLog;
  /** Whether it has run. */
  started: boolean;
  /** Frees it and takes its canvas out of the page. */
  destroy(): Promise<void>;
}

/**
 * Sets up an emulator, which does not run yet.
 *
 * @throws ByreError FIRMWARE when firmware or wasm are not what they should be.
 */
export async function buildEmulator(
  kit: EmulatorKit,
  configuration: MachineConfiguration,
): Promise<EmulatorParts> {
  const container = kit.screenElement?.ownerDocument.createElement("div");
  if (container) {
    mendTextDrawing();
    silenceWorkletErrors();
  }
  const panics: PanicLog = { last: undefined };
  const emulator = await loadEmulator(kit, configuration, container, panics);
  const destroy = async () => {
    await emulator.destroy();
    container?.remove();
  };
  try {
    checkInternals(emulator);
    const { ide } = emulator.v86.cpu.devices;
    if (ide?.secondary) overrideIde(ide.secondary.master);
    silenceSoundErrors(emulator);
    mendDeviceStates(emulator.v86.cpu);
    // Not before it is the one that runs.
    emulator.keyboard_set_enabled(false);
    emulator.mouse_set_enabled(false);
  } catch (error) {
    await destroy();
    throw error;
  }
  return { emulator, configuration, container, panics, started: false, destroy };
}

/** Fetches v86 itself ahead of the first machine, which then does not wait for it. */
export async function preloadEmulator(): Promise<void> {
  await import("v86");
}

async function loadEmulator(
  { drives, firmware, wasm }: EmulatorKit,
  configuration: MachineConfiguration,
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
      bios: { buffer: firmware.bios },
      vga_bios: { buffer: firmware.vgaBios },
      ...(drives.hda && { hda: drives.hda }),
      ...(drives.hdb && { hdb: drives.hdb }),
      ...(drives.cd.disk && { cdrom: drives.cd.disk }),
      ...(drives.fd.floppy && { fda: drives.fd.floppy.anotherImage() }),
      // Text is drawn on the canvas with the guest's own font, so that one canvas is the whole screen.
      ...(container && { screen: { container, use_graphical_text: true } }),
      // The way out for files.
      uart1: true,
      mac_address_translation: true,
      // Nothing leaves it before the machine's network says so: it takes the place of its `send`.
      net_device: { type: "ne2k", relay_url: "fetch" },
      disable_speaker: !container,
      disable_mouse: !container,
      async wasm_fn(imports: V86WasmImports) {
        try {
          collectPanics(imports, () => memory, panics);
          const { instance } = await WebAssembly.instantiate(wasm, imports);
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
