import type { V86Cpu } from "./v86-internals.ts";

/** PM1a control register of the PIIX4 power management unit, where SeaBIOS's tables place it. */
const PM1A_CONTROL_PORT = 0xb004;
const SLEEP_ENABLE = 1 << 13;
const SLEEP_TYPE_SHIFT = 10;
/** \_S3 of SeaBIOS's tables. Nothing here could wake the machine, so v86's doing nothing stays. */
const SLEEP_TYPE_SUSPEND_TO_RAM = 1;

/**
 * General-purpose event status: two bytes before the two of the enable register. Hardware clears the bits that
 * are written as ones; v86 stores them. Linux clears them all as it starts, has every event pending from then
 * on, and follows the one for PCI hot-plug, whose ports v86 has not: every device is ejected, the disk too.
 */
const EVENT_STATUS_PORTS = [0xafe0, 0xafe1];

/** Bochs's shutdown port: SeaBIOS's APM power-off spells "Shutdown" here, for guests without ACPI. */
const APM_SHUTDOWN_PORT = 0x8900;
const APM_SHUTDOWN_WORD = "Shutdown";

/** Makes event status clear when it is told to. There are no events here, so it always reads as clear. */
export function mendEventStatus(cpu: V86Cpu): void {
  if (!cpu.devices.acpi) return;
  for (const port of EVENT_STATUS_PORTS) cpu.io.register_write(port, cpu.devices.acpi, () => {});
}

/**
 * Hears the guest switch itself off, which v86 takes note of and ignores.
 *
 * @param onPowerOff is called inside an instruction of the guest: only stop the emulator in it.
 */
export function watchPowerOff(cpu: V86Cpu, onPowerOff: () => void): void {
  const control = cpu.io.ports[PM1A_CONTROL_PORT];
  if (cpu.devices.acpi && control) {
    const write = control.write16;
    control.write16 = function (this: unknown, value) {
      write.call(this, value);
      const type = (value >> SLEEP_TYPE_SHIFT) & 7;
      if (value & SLEEP_ENABLE && type !== SLEEP_TYPE_SUSPEND_TO_RAM) onPowerOff();
    };
  }

  let spelled = "";
  cpu.io.register_write(APM_SHUTDOWN_PORT, {}, (value) => {
    spelled = (spelled + String.fromCharCode(value)).slice(-APM_SHUTDOWN_WORD.length);
    if (spelled === APM_SHUTDOWN_WORD) onPowerOff();
  });
}
