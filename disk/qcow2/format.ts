/**
 * Numbers of the qcow2 format (QEMU, docs/interop/qcow2) and the limits QEMU holds images to. The same
 * limits are kept here, so that an image that one accepts the other accepts too.
 */

/** "QFI\xfb" */
export const QCOW2_MAGIC = 0x514649fb;

export const V2_HEADER_BYTES = 72;
/** Shortest version 3 header. */
export const V3_HEADER_MIN_BYTES = 104;
/** What QEMU 7.2 writes, and so do we: up to and with the compression type, padded to 8. */
export const V3_HEADER_BYTES = 112;

export const MIN_CLUSTER_BITS = 9;
export const MAX_CLUSTER_BITS = 21;
export const MAX_REFCOUNT_ORDER = 6;
export const MAX_L1_BYTES = 32 * 1024 * 1024;
export const MAX_REFCOUNT_TABLE_BYTES = 8 * 1024 * 1024;
export const MAX_SNAPSHOTS = 65536;
export const MAX_SNAPSHOT_TABLE_BYTES = 64 * 1024 * 1024;
export const MAX_BACKING_NAME_BYTES = 1023;
export const MAX_BACKING_FORMAT_BYTES = 15;

/** Bytes of an L1, L2 (not extended) or refcount table entry. */
export const ENTRY_BYTES = 8;
/** Subclusters of a cluster, with extended L2 entries. */
export const SUBCLUSTERS = 32;
/** With extended L2 entries a cluster has at least 16 KiB, so that a subcluster is no less than a sector. */
export const MIN_EXTENDED_CLUSTER_BITS = 14;
/** Unit of a compressed cluster's length. */
export const SECTOR_BYTES = 512;

export const IncompatibleFeature = {
  DIRTY: 0,
  CORRUPT: 1,
  EXTERNAL_DATA_FILE: 2,
  COMPRESSION_TYPE: 3,
  EXTENDED_L2: 4,
} as const;

export const CryptMethod = { NONE: 0, AES: 1, LUKS: 2 } as const;

export const CompatibleFeature = { LAZY_REFCOUNTS: 0 } as const;

export const AutoclearFeature = { BITMAPS: 0, RAW_EXTERNAL_DATA: 1 } as const;

/** Types in the feature-name table. */
export const FeatureType = { INCOMPATIBLE: 0, COMPATIBLE: 1, AUTOCLEAR: 2 } as const;

export const ExtensionMagic = {
  END: 0,
  BACKING_FORMAT: 0xe2792aca,
  FEATURE_NAMES: 0x6803f857,
  BITMAPS: 0x23852875,
  LUKS: 0x0537be77,
  DATA_FILE: 0x44415441,
} as const;

/** Where fields stand in the header, in bytes. */
export const HeaderField = {
  MAGIC: 0,
  VERSION: 4,
  BACKING_OFFSET: 8,
  BACKING_SIZE: 16,
  CLUSTER_BITS: 20,
  SIZE: 24,
  CRYPT_METHOD: 32,
  L1_SIZE: 36,
  L1_OFFSET: 40,
  REFCOUNT_TABLE_OFFSET: 48,
  REFCOUNT_TABLE_CLUSTERS: 56,
  SNAPSHOT_COUNT: 60,
  SNAPSHOTS_OFFSET: 64,
  INCOMPATIBLE_FEATURES: 72,
  COMPATIBLE_FEATURES: 80,
  AUTOCLEAR_FEATURES: 88,
  REFCOUNT_ORDER: 96,
  HEADER_LENGTH: 100,
  COMPRESSION_TYPE: 104,
} as const;
