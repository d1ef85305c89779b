import { readFileSync } from "node:fs";
import { metadataOf, withMetadata } from "../appliance/header-metadata.ts";
import { problemWithValue } from "../appliance/keys.ts";
import { checkMetadataKey, type Metadata } from "../appliance/metadata.ts";
import type { BlockFile } from "../block-file.ts";
import { ExitCode, ExitError } from "./exit.ts";
import { parseImageSpec, requestedFormat } from "./image-spec.ts";
import { inOneLine } from "./one-line.ts";
import { openFileSpec } from "./open-file.ts";
import type { OpenImageOptions } from "./open-image.ts";
import { type Out, warningsTo } from "./out.ts";
import { probeFormat } from "./probe-format.ts";
import { qemuJson } from "./qemu-json.ts";
import { readHeader } from "./read-header.ts";

const NOT_QCOW2 = "Only qcow2 images have metadata.";

/** Prints `key=value` lines, with what is no plain text escaped: a stranger's words are not to steer a terminal. */
export async function listMetadata(
  spec: string,
  output: "human" | "json",
  options: OpenImageOptions,
  out: Out,
): Promise<void> {
  const metadata = await readMetadata(spec, options);
  if (output === "json") return out.out(`${qemuJson(Object.fromEntries(metadata))}\n`);
  for (const [key, value] of metadata) out.out(`${key}=${inOneLine(value)}\n`);
}

/** Prints a value as it is, and a line's end. */
export async function getMetadata(
  spec: string,
  key: string,
  options: OpenImageOptions,
  out: Out,
): Promise<void> {
  const value = (await readMetadata(spec, options)).get(key);
  if (value === undefined)
    throw new ExitError(ExitCode.FAILED, `${spec}: there is no key ${JSON.stringify(key)}`);
  out.out(`${value}\n`);
}

export async function exportMetadata(spec: string, options: OpenImageOptions, out: Out): Promise<void> {
  const metadata = await readMetadata(spec, options);
  out.out(`${JSON.stringify(Object.fromEntries(metadata), undefined, 2)}\n`);
}

/**
 * @param pairs `KEY=VALUE`.
 * @param files `KEY=PATH` of a file that holds the value.
 */
export async function setMetadata(
  spec: string,
  pairs: readonly string[],
  files: readonly string[],
  options: OpenImageOptions,
  out: Out,
): Promise<void> {
  if (pairs.length + files.length === 0)
    throw new ExitError(ExitCode.FAILED, "Which keys? Give KEY=VALUE, or --from-file KEY=PATH.");
  const changes = new Map(pairs.map(splitPair));
  for (const [key, path] of files.map(splitPair)) changes.set(key, readText(path, path));
  await changeMetadata(spec, options, out, (metadata) => {
    for (const [key, value] of changes) metadata.set(key, value);
    warnOfValues(changes, out);
  });
}

function splitPair(pair: string): [string, string] {
  const equals = pair.indexOf("=");
  if (equals >= 0) return [pair.slice(0, equals), pair.slice(equals + 1)];
  throw new ExitError(ExitCode.FAILED, `'${pair}' is no KEY=VALUE. To remove a key: byre meta unset.`);
}

export async function unsetMetadata(
  spec: string,
  keys: readonly string[],
  options: OpenImageOptions,
  out: Out,
): Promise<void> {
  await changeMetadata(spec, options, out, (metadata) => {
    const missing = keys.filter((key) => !metadata.has(key));
    if (missing.length > 0)
      throw new ExitError(
        ExitCode.FAILED,
        `${spec}: there is no key ${missing.map((key) => JSON.stringify(key)).join(", ")}`,
      );
    for (const key of keys) metadata.delete(key);
  });
}

/** @param path of a JSON object whose values are strings; `-` is standard input. */
export async function importMetadata(
  spec: string,
  path: string,
  replace: boolean,
  options: OpenImageOptions,
  out: Out,
): Promise<void> {
  const changes = parseImport(readText(path === "-" ? 0 : path, path), path);
  await changeMetadata(spec, options, out, (metadata) => {
    if (replace) metadata.clear();
    for (const [key, value] of changes) metadata.set(key, value);
    warnOfValues(changes, out);
  });
}

async function readMetadata(spec: string, options: OpenImageOptions): Promise<Metadata> {
  const image = parseImageSpec(spec, options);
  const requested = requestedFormat(spec, image, options);
  const file = await openFileSpec(image.file);
  try {
    if (requested === "qcow3-2008") return await metadata2008(file);
    if ((requested ?? (await probeFormat(file))) !== "qcow2")
      throw new ExitError(ExitCode.FAILED, `${spec}: ${NOT_QCOW2}`);
    return metadataOf(await readHeader(file), file.name);
  } finally {
    await file.close();
  }
}

/** Keys as the image's author wrote them, which may not be keys of ours. */
async function metadata2008(file: BlockFile): Promise<Metadata> {
  const { read2008Metadata } = await import("../qcow2/metadata-2008.ts");
  const pairs = await read2008Metadata(file);
  if (!pairs) throw new ExitError(ExitCode.FAILED, `${file.name} is not an image of the 2008 qcow3 format.`);
  return new Map(pairs);
}

/** Reads, changes and writes; nothing is written when what is there cannot be read, or what is to be does not fit. */
async function changeMetadata(
  spec: string,
  options: OpenImageOptions,
  out: Out,
  change: (metadata: Map<string, string>) => void,
): Promise<void> {
  const { openQcow2Image } = await import("./open-qcow2.ts");
  const device = await openQcow2Image(
    spec,
    {
      ...options,
      writable: true,
      noBacking: true,
      onWarning: warningsTo(out),
    },
    `${spec}: ${NOT_QCOW2}`,
  );
  try {
    const metadata = metadataOf(device.header, device.name);
    change(metadata);
    for (const key of metadata.keys()) checkMetadataKey(key, device.name);
    // Encoded once before anything is written: what does not fit changes nothing.
    withMetadata(device.header, device.header.extensions, metadata, device.name);
    await device.changeHeader({
      extensions: (present) => withMetadata(device.header, present, metadata, device.name),
    });
  } finally {
    await device.close();
  }
}

function warnOfValues(changes: ReadonlyMap<string, string>, out: Out): void {
  for (const [key, value] of changes) {
    const problem = problemWithValue(key, value);
    if (problem) out.err(`byre: warning: the value of ${key} ${problem}; machines pass over this one.\n`);
  }
}

function readText(from: string | 0, label: string): string {
  let bytes: Uint8Array;
  try {
    bytes = readFileSync(from);
  } catch (error) {
    throw new ExitError(
      ExitCode.FAILED,
      `Could not read ${label}: ${error instanceof Error ? error.message : String(error)}`,
    );
  }
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw new ExitError(ExitCode.FAILED, `${label} is not UTF-8 text. Encode it, as base64 for one.`);
  }
}

function parseImport(text: string, label: string): Map<string, string> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new ExitError(
      ExitCode.FAILED,
      `${label} is not JSON: ${error instanceof Error ? error.message : String(error)}`,
    );
  }
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw new ExitError(ExitCode.FAILED, `${label} is not a JSON object of keys and values.`);
  const pairs = new Map<string, string>();
  for (const [key, item] of Object.entries(value)) {
    if (typeof item !== "string")
      throw new ExitError(ExitCode.FAILED, `${label}: the value of ${key} is not a string.`);
    pairs.set(key, item);
  }
  return pairs;
}
