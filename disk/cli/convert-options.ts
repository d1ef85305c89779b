import { checkCacheMode } from "./cache-mode.ts";
import {
  type CreateFormat,
  type CreateValues,
  createFormat,
  parseCreateOptions,
  textOf,
} from "./create-options.ts";
import { ExitCode, ExitError } from "./exit.ts";
import { sizeArgument } from "./map-sizes.ts";
import { parseOptionString } from "./option-string.ts";

const SECTOR_BYTES = 512;
/** Zeros that make a hole, unless `-S` says otherwise: a page. */
const DEFAULT_SPARSE_BYTES = 4096;
const MAX_SPARSE_BYTES = 16 * 1024 * 1024;
const MAX_COROUTINES = 16;

/** `convert`'s options as commander hands them over. */
export interface ConvertValues {
  readonly format?: string;
  readonly outputFormat?: string;
  readonly compress?: boolean;
  readonly options?: readonly string[];
  readonly backing?: string;
  readonly backingFormat?: string;
  readonly snapshot?: string;
  readonly sparse?: string;
  readonly skipCreate?: boolean;
  readonly progress?: boolean;
  readonly quiet?: boolean;
  readonly outOfOrder?: boolean;
  readonly coroutines?: string;
  readonly cache?: string;
  readonly sourceCache?: string;
  readonly copyRange?: boolean;
  readonly rateLimit?: string;
  readonly targetIsZero?: boolean;
  readonly imageOpts?: boolean;
  readonly targetImageOpts?: boolean;
  readonly salvage?: boolean;
  readonly bitmaps?: boolean;
  readonly skipBrokenBitmaps?: boolean;
  readonly object?: readonly string[];
  readonly forceShare?: boolean;
  readonly withSnapshots?: boolean;
}

/** What is to be done, once everything that can be wrong with the options has been looked at. */
export interface ConvertPlan {
  readonly sources: readonly string[];
  readonly target: string;
  readonly outputFormat: CreateFormat;
  readonly compress: boolean;
  /** Zeros of this many bytes are not written; 0 writes everything. */
  readonly minZeroBytes: number;
  readonly create: boolean;
  readonly targetIsZero: boolean;
  readonly targetImageOpts: boolean;
  readonly salvage: boolean;
  readonly withSnapshots: boolean;
  readonly snapshot: string | undefined;
  /** The target is made durable before the command ends. */
  readonly sync: boolean;
  readonly createValues: CreateValues;
  readonly backing: string | undefined;
}

/**
 * Holds the options against each other, as qemu-img does and with its words.
 *
 * @throws ExitError for the first thing that is wrong; nothing has been opened then.
 */
export function planConvert(files: readonly string[], values: ConvertValues): ConvertPlan {
  const target = files.at(-1);
  const outputFormat = values.outputFormat ?? "raw";
  const minZeroBytes = sparseBytes(values.sparse);
  checkCoroutines(values.coroutines);
  sizeArgument("rate limit", values.rateLimit);
  checkCombinations(values);
  if (target === undefined || files.length < 2) throw fail("Must specify image file name");
  checkCacheMode(values.sourceCache, "source cache");
  checkCacheMode(values.cache);
  const sources = files.slice(0, -1);
  const snapshot = values.snapshot === undefined ? undefined : snapshotName(values.snapshot);
  if (snapshot !== undefined && sources.length > 1 && !values.snapshot?.startsWith("snapshot."))
    throw fail("No support for concatenating multiple snapshot");
  const format = createFormat(outputFormat);
  if (values.withSnapshots && (format !== "qcow2" || sources.length > 1))
    throw fail("--with-snapshots copies one qcow2 image into another: -O qcow2 and one source.");
  const createValues = parseCreateOptions(format, values.options ?? [], target);
  putBacking(createValues, format, values);
  const backing = textOf(createValues, "backing_file");
  if (values.targetIsZero && backing !== undefined)
    throw fail("Cannot use --target-is-zero when the destination image has a backing file");
  if (sources.length > 1 && backing !== undefined)
    throw fail(
      "Having a backing file for the target makes no sense when concatenating multiple input images",
    );
  if (backing !== undefined && !values.skipCreate && textOf(createValues, "backing_fmt") === undefined)
    throw fail("Use of backing file requires explicit backing format");
  if (values.compress) checkCompression(format, createValues);
  return {
    sources,
    target,
    outputFormat: format,
    compress: values.compress ?? false,
    minZeroBytes,
    create: !values.skipCreate,
    targetIsZero: values.targetIsZero ?? false,
    targetImageOpts: values.targetImageOpts ?? false,
    salvage: values.salvage ?? false,
    withSnapshots: values.withSnapshots ?? false,
    snapshot,
    sync: (values.cache ?? "unsafe") !== "unsafe",
    createValues,
    backing: backing ?? values.backing,
  };
}

function checkCombinations(values: ConvertValues): void {
  if (values.skipBrokenBitmaps && !values.bitmaps)
    throw fail("Use of --skip-broken-bitmaps requires --bitmaps");
  if (values.compress && values.copyRange) throw fail("Cannot enable copy offloading when -c is used");
  if (values.sparse !== undefined && values.copyRange)
    throw fail("Cannot enable copy offloading when -S is used");
  if (values.copyRange && values.salvage) throw fail("Cannot use copy offloading in salvaging mode");
  if (values.targetImageOpts && !values.skipCreate) throw fail("--target-image-opts requires use of -n flag");
  if (values.skipCreate && values.options) throw fail("-o has no effect when skipping image creation");
  if (values.targetIsZero && !values.skipCreate) throw fail("--target-is-zero requires use of -n flag");
  if (values.imageOpts && values.format !== undefined)
    throw fail("--image-opts and --format are mutually exclusive");
  if (values.bitmaps)
    throw fail("--bitmaps is not supported: byre does not carry dirty bitmaps. Use qemu-img for this image.");
  if (values.withSnapshots && (values.snapshot !== undefined || values.skipCreate))
    throw fail("--with-snapshots goes with neither -l nor -n: it makes a new image with every snapshot.");
}

function sparseBytes(text: string | undefined): number {
  const bytes = sizeArgument("buffer size for sparse output", text);
  if (bytes === undefined) return DEFAULT_SPARSE_BYTES;
  if (bytes % SECTOR_BYTES === 0 && bytes <= MAX_SPARSE_BYTES) return bytes;
  throw fail(
    `Invalid buffer size for sparse output specified. Valid sizes are multiples of ${SECTOR_BYTES} up to ` +
      `${MAX_SPARSE_BYTES}. Select 0 to disable sparse detection (fully allocates output).`,
  );
}

function checkCoroutines(text: string | undefined): void {
  if (text === undefined) return;
  const count = /^\d+$/.test(text) ? Number(text) : 0;
  if (count < 1 || count > MAX_COROUTINES)
    throw fail(
      `Invalid number of coroutines. Allowed number of coroutines is between 1 and ${MAX_COROUTINES}`,
    );
}

/** The id or name that `-l` means: alone, or as `snapshot.id=ID,snapshot.name=NAME`. */
export function snapshotName(text: string): string {
  if (!text.startsWith("snapshot.")) return text;
  const given = new Map(parseOptionString(text));
  const name = given.get("snapshot.name") ?? given.get("snapshot.id");
  if (name === undefined || [...given.keys()].some((key) => key !== "snapshot.id" && key !== "snapshot.name"))
    throw fail(`Failed in parsing snapshot param '${text}'`);
  return name;
}

function putBacking(createValues: CreateValues, format: CreateFormat, values: ConvertValues): void {
  if (values.skipCreate) return;
  if (values.backing !== undefined) {
    if (format === "raw") throw fail("Backing file not supported for file format 'raw'");
    createValues.set("backing_file", values.backing);
  }
  if (values.backingFormat !== undefined) {
    if (format === "raw") throw fail("Backing file format not supported for file format 'raw'");
    createValues.set("backing_fmt", values.backingFormat);
  }
}

function checkCompression(format: CreateFormat, values: CreateValues): void {
  if (format === "raw") throw fail("Compression not supported for this file format");
  if (values.get("encryption") === true || values.has("encrypt.format"))
    throw fail("Compression and encryption not supported at the same time");
  const preallocation = textOf(values, "preallocation");
  if (preallocation !== undefined && preallocation !== "off")
    throw fail("Compression and preallocation not supported at the same time");
}

function fail(message: string): ExitError {
  return new ExitError(ExitCode.FAILED, message);
}
