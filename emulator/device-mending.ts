import type { V86ByteQueue, V86Cpu, V86Ne2k, V86Uart } from "./v86-internals.ts";

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
 * - v86 leaves out what a serial port has received and the guest has not read. Bytes of before a load would be in the
 *   way of all that follow: the port that was saved interrupts for none of them. It leaves out keys and moves of the
 *   mouse likewise; a key whose release was lost would be held down for ever.
 * - The network card translates between the address that the guest knows, from the state, and one of its own, so
 *   that two machines from one state can share a relay. v86 saves its own, so that the state of a machine that came
 *   from a state would lead nowhere.
 */
export function mendDeviceStates({ devices: { uart0, uart1, ps2, net } }: V86Cpu): void {
  for (const uart of [uart0, uart1]) {
    const [getUart, setUart] = [uart.get_state, uart.set_state];
    uart.get_state = () => {
      const state = getUart.call(uart);
      state[RECEIVED_IN_STATE] = [...uart.input];
      return state;
    };
    uart.set_state = (state) => {
      if (!state) {
        resetUart(uart);
        return;
      }
      setUart.call(uart, state);
      uart.input = [...((state[RECEIVED_IN_STATE] as number[] | undefined) ?? [])];
    };
  }

  const [getPs2, setPs2] = [ps2.get_state, ps2.set_state];
  ps2.get_state = () => {
    const state = getPs2.call(ps2);
    const unread: Ps2Unread = [
      bytesIn(ps2.kbd_buffer),
      bytesIn(ps2.mouse_buffer),
      ps2.next_byte_is_ready,
      ps2.next_byte_is_aux,
    ];
    state[PS2_UNREAD_IN_STATE] = unread;
    return state;
  };
  ps2.set_state = (state) => {
    setPs2.call(ps2, state);
    const unread = state[PS2_UNREAD_IN_STATE] as Ps2Unread | undefined;
    if (!unread) return;
    const [keys, moves, ready, aux] = unread;
    for (const byte of keys) ps2.kbd_buffer.push(byte);
    for (const byte of moves) ps2.mouse_buffer.push(byte);
    ps2.next_byte_is_ready = ready;
    ps2.next_byte_is_aux = aux;
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

/** Behind what v86 keeps of a serial port. */
const RECEIVED_IN_STATE = 11;
/** Behind what v86 keeps of keyboard and mouse. */
const PS2_UNREAD_IN_STATE = 28;
/** Where v86 keeps the card's address in its state. */
const MAC_IN_STATE = 15;

/** v86 stores arrays, and no plain objects. */
type Ps2Unread = readonly [
  keys: readonly number[],
  moves: readonly number[],
  ready: boolean,
  isOfMouse: boolean,
];

/** What is in a queue, which only its end tells. */
function bytesIn(queue: V86ByteQueue): number[] {
  const bytes = Array.from({ length: queue.length }, () => queue.shift());
  for (const byte of bytes) queue.push(byte);
  return bytes;
}
