import { readFileSync } from "node:fs";
import { ExitCode, ExitError } from "./exit.ts";
import { parseOptionString } from "./option-string.ts";

/** Passwords by the id that other options name them with. */
export type Secrets = ReadonlyMap<string, Uint8Array>;

/**
 * Reads QEMU's `--object secret,id=ID,data=TEXT|file=PATH[,format=raw|base64]`.
 *
 * @param objects the value of each `--object`.
 * @throws ExitError for other objects, missing parts, or a file that cannot be read.
 */
export function parseSecrets(objects: readonly string[]): Secrets {
  const secrets = new Map<string, Uint8Array>();
  for (const object of objects) {
    const [type = "", ...rest] = object.split(",");
    const kind = type.startsWith("qom-type=") ? type.slice("qom-type=".length) : type;
    if (kind !== "secret") throw failed(`invalid object type: ${kind}`);
    const values = new Map(parseOptionString(rest.join(",")));
    const id = values.get("id");
    if (id === undefined) throw failed("Parameter 'id' is missing");
    if (secrets.has(id)) throw failed(`attempt to add duplicate property '${id}' to object`);
    for (const name of values.keys())
      if (!["id", "data", "file", "format"].includes(name))
        throw failed(`--object secret,id=${id}: '${name}' is not supported; data, file and format are.`);
    secrets.set(id, secretOf(id, values));
  }
  return secrets;
}

function secretOf(id: string, values: ReadonlyMap<string, string>): Uint8Array {
  const data = values.get("data");
  const file = values.get("file");
  if (data !== undefined && file !== undefined) throw failed("'file' and 'data' are mutually exclusive");
  let bytes: Uint8Array;
  if (data !== undefined) bytes = new TextEncoder().encode(data);
  else if (file !== undefined) bytes = readSecretFile(file);
  else throw failed(`--object secret,id=${id}: must provide 'file' or 'data'`);
  const format = values.get("format") ?? "raw";
  if (format === "base64")
    return new Uint8Array(Buffer.from(Buffer.from(bytes).toString("latin1"), "base64"));
  if (format !== "raw") throw failed(`Invalid parameter '${format}'`);
  return bytes;
}

function readSecretFile(path: string): Uint8Array {
  try {
    return new Uint8Array(readFileSync(path));
  } catch (error) {
    throw failed(`Unable to read ${path}: ${error instanceof Error ? error.message : String(error)}`);
  }
}

function failed(message: string): ExitError {
  return new ExitError(ExitCode.FAILED, message);
}
