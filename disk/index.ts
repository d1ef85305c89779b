export type { BlockDevice } from "./block-device.ts";
export { type BlockFile, WriteStage } from "./block-file.ts";
export { ByreError, type ByreErrorCode, type ByreErrorData, toByreError } from "./errors.ts";
export { createMemoryFile, type MemoryFile, type MemoryFileOptions } from "./files/memory-file.ts";
export { openRawDevice, type RawDeviceOptions } from "./raw/raw-device.ts";
export { checkRange } from "./ranges.ts";
