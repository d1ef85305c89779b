export { metadataOf, metadataRoom, withMetadata } from "./appliance/header-metadata.ts";
export { problemWithValue, RESERVED_KEYS, type ReservedKey } from "./appliance/keys.ts";
export { encodeMetadata, METADATA_MAGIC, type Metadata, parseMetadata } from "./appliance/metadata.ts";
export type { BlockDevice, BlockStatus, WriteZeroesOptions } from "./block-device.ts";
export { type BlockFile, WriteStage } from "./block-file.ts";
export { ByreError, type ByreErrorCode, type ByreErrorData, toByreError } from "./errors.ts";
export type { PackCluster } from "./export/cluster-packer.ts";
export { type ExportImageOptions, exportImage } from "./export/export-image.ts";
export type { ExportSink } from "./export/piece-sink.ts";
export { type BlobFileOptions, createBlobFile } from "./files/blob-file.ts";
export {
  type HttpFile,
  type HttpFileOptions,
  type HttpFileStats,
  type HttpProgress,
  openHttpFile,
} from "./files/http-file.ts";
export { type FileIdentity, identityFrom, isSameIdentity } from "./files/http-identity.ts";
export { type ContentRange, parseContentRange, wholeLength } from "./files/http-range.ts";
export type { ImportProgress, ImportState } from "./files/importing-copy.ts";
export {
  type ImportingFile,
  type ImportingFileOptions,
  openImportingFile,
} from "./files/importing-file.ts";
export {
  deleteIndexedDbFile,
  deleteUnfinishedImport,
  type IndexedDbFileSize,
  indexedDbFileSizes,
} from "./files/indexeddb-catalog.ts";
export { type BlockDatabase, type ImportSource, openBlockDatabase } from "./files/indexeddb-database.ts";
export {
  type IndexedDbFile,
  type IndexedDbFileOptions,
  type IndexedDbFileStats,
  openIndexedDbFile,
} from "./files/indexeddb-file.ts";
export { createMemoryFile, type MemoryFile, type MemoryFileOptions } from "./files/memory-file.ts";
export { createSliceFile, type SliceFileOptions } from "./files/slice-file.ts";
export { listTarMembers, openTarMember, type TarMember } from "./files/tar-member.ts";
export { type CreateIsoOptions, createIso, type IsoFile } from "./iso/create-iso.ts";
export { nextTurn } from "./next-turn.ts";
export { type ImageFormat, type OpenDeviceOptions, openDevice } from "./open-device.ts";
export { type CheckOptions, type CheckResult, checkQcow2 } from "./qcow2/check.ts";
export { type ClusterCodec, loadCodec } from "./qcow2/compression.ts";
export {
  type CopyOptions,
  type CopySnapshotOptions,
  copyDisk,
  copySnapshot,
} from "./qcow2/copy-snapshot.ts";
export { type CreateQcow2Options, createQcow2 } from "./qcow2/create.ts";
export { checkFeatures } from "./qcow2/features.ts";
export { parseHeader, type Qcow2Header } from "./qcow2/header.ts";
export type { Qcow2Info } from "./qcow2/info.ts";
export {
  type BackingImage,
  type BackingRequest,
  type BackingResolver,
  type OpenQcow2Options,
  openQcow2,
  probeImage,
  readQcow2Info,
} from "./qcow2/open.ts";
export type { Qcow2Device } from "./qcow2/qcow2-device.ts";
export { isDiskOf } from "./qcow2/same-disk.ts";
export {
  type BeginStateOptions,
  UNFINISHED_SNAPSHOT,
} from "./qcow2/saved-state.ts";
export type { Qcow2Snapshot } from "./qcow2/snapshot-table.ts";
export type { SnapshotUsage } from "./qcow2/snapshot-usage.ts";
export { checkCanHaveSnapshots } from "./qcow2/snapshots.ts";
export type { StateReader } from "./qcow2/state-reader.ts";
export type { FinishStateOptions, StateWriter } from "./qcow2/state-writer.ts";
export { checkRange } from "./ranges.ts";
export { openRawDevice, type RawDeviceOptions } from "./raw/raw-device.ts";
export { isAllZero } from "./zero-bytes.ts";
