import type { V86Cpu } from "./v86-internals.ts";

/**
 * Mends how v86 sets the processor's time stamp counter: it takes the new offset from the counter as it reads now and
 * forgets that this has an offset already. So it is right only the first time. A machine that was started from a state
 * and then loads another (or is reset) would find its clock set back by as much as the first state was older than
 * this page, and Linux lets no timer fire before it has caught up. v86 0.5.462.
 *
 * @param cpu once for each, before it runs.
 */
export function mendTimeStamp(cpu: V86Cpu): void {
  const setTimeStamp = cpu.set_tsc;
  cpu.set_tsc = (low, high) => {
    // Set to what it reads, it has no offset any more.
    cpu.store_current_tsc();
    const [nowLow = 0, nowHigh = 0] = cpu.current_tsc;
    setTimeStamp.call(cpu, nowLow, nowHigh);
    setTimeStamp.call(cpu, low, high);
  };
  // A reset sets it to 0 without asking here.
  const reboot = cpu.reboot_internal;
  cpu.reboot_internal = () => {
    reboot.call(cpu);
    cpu.set_tsc(0, 0);
  };
}
