import type { V86Cpu, V86Ne2k, V86Uart } from "./v86-internals.ts";

/** UART line status: nothing received, everything sent. */
const LINE_IDLE = 0x60;

/** NE2000 command: page 0, stopped, no transfer: as after power-on. */
const CARD_STOPPED = 0x21;

/** Puts a serial port back to how it is after power-on. */
export function resetUart(uart: V86Uart): void {
  uart.input.length = 0;
  Object.assign(uart, { ier: 0, line_control: 0, fifo_control: 0, modem_control: 0, lsr: LINE_IDLE });
  uart.CheckInterrupt();
}

/** Stops the network card; a guest that was reset has no driver for its interrupts yet. */
export function resetNetworkCard(card: V86Ne2k): void {
  Object.assign(card, { cr: CARD_STOPPED, imr: 0, isr: 0, rcnt: 0 });
  card.update_irq();
}

/** The guest's new driver asks for positions anew; until then the mouse moves as any other. */
export function resetPointer({ devices: { vmware } }: V86Cpu): void {
  Object.assign(vmware, { enabled: false, absolute: false });
  vmware.queue.length = 0;
  vmware.bus.send("vmware-absolute-mouse", false);
}

/**
 * Mends what v86 does with saved states of these devices. To be called before the emulator takes one.
 *
 * - A state of an older program has no second serial port; v86 fails on that.
 * - The network card translates between the address that the guest knows, from the state, and one of its own, so
 *   that two machines from one state can share a relay. v86 saves its own, so that the state of a machine that came
 *   from a state would lead nowhere.
 */
export function mendDeviceStates({ devices: { uart1, net } }: V86Cpu): void {
  const setUart = uart1.set_state;
  uart1.set_state = (state) => {
    if (state) setUart.call(uart1, state);
    else resetUart(uart1);
  };

  const [getCard, setCard] = [net.get_state, net.set_state];
  net.get_state = () => {
    const state = getCard.call(net);
    state[MAC_IN_STATE] = net.mac_address_in_state ?? net.mac;
    return state;
  };
  net.set_state = (state) => {
    setCard.call(net, state);
    // Not views that keep the whole state in memory.
    net.memory = net.memory.slice();
    net.mac_address_in_state = net.mac_address_in_state?.slice() ?? null;
  };
}

/** Where v86 keeps the card's address in its state. */
const MAC_IN_STATE = 15;
