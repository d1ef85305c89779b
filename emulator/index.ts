export {
  DEFAULT_CONFIGURATION,
  type Machine,
  type MachineConfiguration,
  type MachineDisks,
  type MachineError,
  type MachineFirmware,
  type MachineKeyboard,
  type MachineOptions,
  type MachineScreen,
  type MachineSerial,
  type MachineState,
  type MachineStats,
} from "./machine.ts";
export { startMachine } from "./start-machine.ts";
