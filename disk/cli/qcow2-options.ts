import type { CreateQcow2Options } from "../qcow2/create.ts";
import { type CreateValues, textOf } from "./create-options.ts";
import { ExitCode, ExitError } from "./exit.ts";
import type { Secrets } from "./secrets.ts";

const MIN_EXTENDED_CLUSTER_BYTES = 16384n;
const PREALLOCATIONS = ["off", "metadata", "falloc", "full"] as const;
export type Preallocation = (typeof PREALLOCATIONS)[number];

/**
 * What an image of these options is to be, held against what the format can do: before anything is written.
 *
 * @param sizeBytes virtual size; rounded up to a whole sector, as QEMU does.
 * @param label begins messages: the image's name.
 * @throws ExitError for options that do not go together.
 */
export function qcow2Options(
  values: CreateValues,
  sizeBytes: bigint,
  secrets: Secrets,
  label: string,
): CreateQcow2Options {
  const fail = (what: string): never => {
    throw new ExitError(ExitCode.FAILED, `${label}: ${what}`);
  };
  const version = versionOf(textOf(values, "compat"), fail);
  const needsV3 = (what: string): void => {
    if (version === 2)
      fail(`${what} only supported with compatibility level 1.1 and above (use version=v3 or greater)`);
  };
  if (values.has("data_file") || values.get("data_file_raw") === true)
    fail("byre makes no images with an external data file.");
  const clusterSize = values.get("cluster_size") as bigint;
  if (clusterSize < 512n || clusterSize > 2n ** 21n || (clusterSize & (clusterSize - 1n)) !== 0n)
    fail("Cluster size must be a power of two between 512 and 2048k");
  const refcountBits = values.get("refcount_bits") as bigint;
  if (refcountBits < 1n || refcountBits > 64n || (refcountBits & (refcountBits - 1n)) !== 0n)
    fail("Refcount width must be a power of two and may not exceed 64 bits");
  if (refcountBits !== 16n) needsV3("Different refcount widths than 16 bits are");
  const lazyRefcounts = values.get("lazy_refcounts") === true;
  if (lazyRefcounts) needsV3("Lazy refcounts are");
  const extendedL2 = values.get("extended_l2") === true;
  if (extendedL2) needsV3("Extended L2 entries are");
  if (extendedL2 && clusterSize < MIN_EXTENDED_CLUSTER_BYTES)
    fail("Extended L2 entries are only supported with cluster sizes of at least 16384 bytes");
  const compression = textOf(values, "compression_type") ?? "zlib";
  if (compression !== "zlib" && compression !== "zstd")
    return fail(`Parameter 'compression-type' does not accept value '${compression}'`);
  if (compression !== "zlib") needsV3("Non-zlib compression type is");
  const preallocation = preallocationOf(values, fail);
  const backing = backingOf(values, fail);
  if (backing && preallocation !== "off" && !extendedL2)
    fail("Backing file and preallocation can only be used at the same time if extended_l2 is on");
  const password = passwordOf(values, secrets, fail);
  const roundedBytes = ((sizeBytes + 511n) / 512n) * 512n;
  if (roundedBytes > BigInt(Number.MAX_SAFE_INTEGER))
    fail(
      "The image size is too large for file format 'qcow2' as byre reads it: 8 PiB less one byte is the most.",
    );
  return {
    sizeBytes: Number(roundedBytes),
    version,
    clusterSizeBytes: Number(clusterSize),
    refcountBits: Number(refcountBits),
    compression,
    extendedL2,
    lazyRefcounts,
    preallocation,
    ...(backing && { backing }),
    ...(password && { encryption: { password } }),
  };
}

/** @throws ExitError through `fail` for a value that is none. */
export function preallocationOf(values: CreateValues, fail: (what: string) => never): Preallocation {
  const text = textOf(values, "preallocation") ?? "off";
  return (
    PREALLOCATIONS.find((mode) => mode === text) ??
    fail(`Parameter 'preallocation' does not accept value '${text}'`)
  );
}

function versionOf(compat: string | undefined, fail: (what: string) => never): 2 | 3 {
  switch (compat) {
    case undefined:
    case "1.1":
    case "v3":
      return 3;
    case "0.10":
    case "v2":
      return 2;
    default:
      return fail(`Parameter 'version' does not accept value '${compat}'`);
  }
}

function backingOf(
  values: CreateValues,
  fail: (what: string) => never,
): { name: string; format: string } | undefined {
  const name = textOf(values, "backing_file");
  const format = textOf(values, "backing_fmt");
  if (name === undefined) {
    if (format !== undefined) fail("Backing format cannot be used without backing file");
    return undefined;
  }
  return { name, format: format ?? fail("Backing file specified without backing format") };
}

function passwordOf(
  values: CreateValues,
  secrets: Secrets,
  fail: (what: string) => never,
): Uint8Array | undefined {
  const format = textOf(values, "encrypt.format");
  const isOld = values.get("encryption") === true;
  if (isOld && format !== undefined)
    fail("'encrypt.format' and its alias 'encryption' can't be used at the same time");
  const id = textOf(values, "encrypt.key-secret");
  if (!isOld && format === undefined) {
    if (id !== undefined) fail("Parameter 'encrypt.format' is missing");
    return undefined;
  }
  if (format === "luks") fail("byre makes no LUKS images; encrypt.format=aes is what it can do.");
  if (format !== undefined && format !== "aes") fail(`Parameter 'format' does not accept value '${format}'`);
  if (id === undefined) return fail("Parameter 'encrypt.key-secret' is required for cipher");
  return secrets.get(id) ?? fail(`No secret with id '${id}'`);
}
