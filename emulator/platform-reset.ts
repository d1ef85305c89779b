import { resetNetworkCard, resetPointer, resetUart } from "./device-mending.ts";
import { IdeDisk } from "./ide-disk.ts";
import type { V86Cpu, V86IdeChannel } from "./v86-internals.ts";

/** Sizes of v86's interrupt controller records, as its own saved states have them. */
const PIC_BYTES = 13;
const APIC_BYTES = 184;
const IOAPIC_BYTES = 208;

/** Device Control: interrupts off, as the register is before the firmware writes it. */
const NO_INTERRUPTS = 2;

/**
 * Makes a reset of the machine reach the devices that v86 leaves as they were. v86 resets the processor, the
 * keyboard controller and virtio devices; a guest stopped in mid-work leaves a drive busy, and the firmware
 * then waits for it. It also leaves I/O APIC entries unmasked, which a guest that resets itself has masked
 * first: a reset from outside must not depend on that.
 *
 * Every way to reset passes `reboot_internal`: the host's, the keyboard controller's (port 64h, FEh) and
 * PCI's (port CF9h). Call it once the machine is set up and before it first runs.
 *
 * @param onReset called after every reset, also one that the guest makes.
 */
export function resetWholePlatform(cpu: V86Cpu, onReset: () => void): void {
  const atPowerOn = controllers(cpu).map((view) => view.slice());
  const rebootCpu = cpu.reboot_internal;
  cpu.reboot_internal = () => {
    for (const channel of [cpu.devices.ide?.primary, cpu.devices.ide?.secondary]) {
      if (channel) resetIdeChannel(cpu, channel);
    }
    resetUart(cpu.devices.uart0);
    resetUart(cpu.devices.uart1);
    resetNetworkCard(cpu.devices.net);
    resetPointer(cpu);
    if (cpu.devices.acpi) {
      Object.assign(cpu.devices.acpi, { status: 1, pm1_status: 0, pm1_enable: 0 });
      cpu.devices.acpi.gpe.fill(0);
    }
    rebootCpu.call(cpu);
    // The memory of the emulator may have grown and moved, so the views are made anew.
    controllers(cpu).forEach((view, index) => {
      const bytes = atPowerOn[index];
      if (bytes) view.set(bytes);
    });
    onReset();
  };
}

function controllers(cpu: V86Cpu): Uint8Array[] {
  const { buffer } = cpu.wasm_memory;
  return [
    new Uint8Array(buffer, cpu.get_pic_addr_master(), PIC_BYTES),
    new Uint8Array(buffer, cpu.get_pic_addr_slave(), PIC_BYTES),
    new Uint8Array(buffer, cpu.get_apic_addr(), APIC_BYTES),
    new Uint8Array(buffer, cpu.get_ioapic_addr(), IOAPIC_BYTES),
  ];
}

function resetIdeChannel(cpu: V86Cpu, channel: V86IdeChannel): void {
  cpu.device_lower_irq(channel.irq);
  for (const drive of [channel.master, channel.slave]) {
    drive.device_reset();
    drive.current_command = -1;
    if (drive.buffer instanceof IdeDisk) drive.buffer.writeCache = true;
  }
  channel.device_control_reg = NO_INTERRUPTS;
  channel.dma_status = 0;
  channel.dma_command = 0;
}
