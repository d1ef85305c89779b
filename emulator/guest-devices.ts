import type { EmulatorParts } from "./emulator-parts.ts";
import { createKeyboard, type Keyboard } from "./keyboard.ts";
import type { NetworkChoice } from "./machine-devices.ts";
import { createNetwork, type Network } from "./network/network.ts";
import { createOutput, type Output } from "./output.ts";
import { createPointer, type Pointer } from "./pointer.ts";
import { createScreen, type Screen } from "./screen.ts";
import { createSerialPort, type SerialPort } from "./serial-port.ts";
import { createSound, type Sound } from "./sound.ts";

/** What of a machine the outside sees and touches, beside its drives. It outlives the emulator it is attached to. */
export interface GuestDevices {
  readonly serial: SerialPort;
  readonly screen: Screen;
  readonly keyboard: Keyboard;
  readonly pointer: Pointer;
  readonly sound: Sound;
  readonly output: Output;
  readonly network: Network;
  attach(parts: EmulatorParts): void;
  close(): void;
}

/** @param first the first emulator. */
export function createGuestDevices(
  first: EmulatorParts,
  screenElement: HTMLElement | undefined,
  networkChoice: NetworkChoice,
): GuestDevices {
  const network = createNetwork(networkChoice);
  const serial = createSerialPort();
  const screen = createScreen(screenElement);
  const keyboard = createKeyboard(first.emulator);
  const pointer = createPointer(screenElement);
  const sound = createSound();
  const output = createOutput();
  return {
    serial,
    screen,
    keyboard,
    pointer,
    sound,
    output,
    network,
    attach({ emulator, container }) {
      serial.attach(emulator);
      screen.attach(emulator, container);
      keyboard.attach(emulator);
      pointer.attach(emulator, container);
      sound.attach(emulator);
      output.attach(emulator);
      network.attach(emulator);
    },
    close() {
      pointer.close();
      network.close();
    },
  };
}
