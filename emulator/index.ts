export {
  type ApplianceConfiguration,
  applianceConfiguration,
  type DisplayChoice,
} from "./appliance-configuration.ts";
export { preloadEmulator } from "./emulator-parts.ts";
export { type ImageKind, imageKind } from "./image-kind.ts";
export {
  DEFAULT_CONFIGURATION,
  type LoadOptions,
  type LoadProgress,
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
  type ResetOptions,
  type SaveOptions,
  type SnapshotChange,
  type SnapshotDescription,
  type StartFrom,
  type Thumbnail,
} from "./machine.ts";
export type {
  InsertOptions,
  MachineMedia,
  MachineNetwork,
  MachineOutput,
  MachinePointer,
  MachineSound,
  Medium,
  NetworkChoice,
  NetworkState,
} from "./machine-devices.ts";
export { networkChoiceText, parseNetworkChoice } from "./network-choice.ts";
export { finished, sameMoment } from "./snapshot-disks.ts";
export { startMachine } from "./start-machine.ts";
export { EMULATOR_VERSION } from "./state-capture.ts";
export type { StateHeader } from "./state-format.ts";
export type { StatePacker } from "./state-packer.ts";
export { describeState, readStateHeader, stateProblem } from "./state-reading.ts";
export { createWorkerPacker } from "./worker-packer.ts";
