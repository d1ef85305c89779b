import { ByreError } from "../../disk/index.ts";
import type { ExportOptions } from "../open/export-disk.ts";
import type { MachineSession } from "../open/machine-session.ts";

/** More than this at once is not typing; it would wait in memory until the guest has taken it. */
const MAX_TEXT_LENGTH = 1024 * 1024;
const MAX_NAME_LENGTH = 255;
const MAX_DESCRIPTION_LENGTH = 4096;

type Parameters = readonly unknown[];

/**
 * What the page around an embedded machine can have done, by the names of docs/embedding.md. What could reach beyond
 * the machine (its network, the host's files, other machines) is not among it.
 */
const VERBS: Readonly<Record<string, (session: MachineSession, parameters: Parameters) => unknown>> = {
  "serial.send": ({ serial }, [text]) => serial.send(textOf(text, "text", MAX_TEXT_LENGTH)),
  "serial.text": ({ serial }) => serial.text(),
  "screen.text": ({ screen }) => screen.text(),
  "screen.screenshot": ({ screen }) => screen.screenshot(),
  pause: (session) => session.pause(),
  resume: (session) => session.resume(),
  reset: (session) => session.reset(),
  powerOff: (session) => session.powerOff(),
  retry: (session) => session.retry(),
  flush: (session) => session.flush(),
  save: (session, [name, options]) => {
    const { description } = optionsOf(options);
    return session.save(
      textOf(name, "name", MAX_NAME_LENGTH),
      description === undefined
        ? {}
        : { description: textOf(description, "description", MAX_DESCRIPTION_LENGTH) },
    );
  },
  load: (session, [state, options]) => {
    const diskOnly = flagOf(optionsOf(options), "diskOnly");
    return session.load(textOf(state, "state", MAX_NAME_LENGTH), diskOnly === undefined ? {} : { diskOnly });
  },
  snapshots: (session) => session.snapshots(),
  describeSnapshot: (session, [state]) => session.describeSnapshot(textOf(state, "state", MAX_NAME_LENGTH)),
  deleteSnapshot: (session, [state]) => session.deleteSnapshot(textOf(state, "state", MAX_NAME_LENGTH)),
  about: (session) => session.about(),
  stats: (session) => session.stats(),
  exportDisk: (session, [options]) => session.exportDisk(exportOptions(optionsOf(options))),
};

/**
 * Does what a page asks for by name.
 *
 * @param parameters whatever the page sent; held against what the verb takes.
 * @throws ByreError INVALID_ARGUMENT for an unknown verb and for parameters that are not its; what the verb meets.
 */
export async function doVerb(
  session: MachineSession,
  method: string,
  parameters: Parameters,
): Promise<unknown> {
  const verb = Object.hasOwn(VERBS, method) ? VERBS[method] : undefined;
  if (!verb)
    throw refuse(
      `A machine in a frame does nothing called "${method.slice(0, 80)}"`,
      `There are: ${Object.keys(VERBS).join(", ")}`,
    );
  return verb(session, parameters);
}

function exportOptions(options: Readonly<Record<string, unknown>>): ExportOptions {
  const chosen = (["flatten", "compress", "snapshots"] as const).flatMap((name) => {
    const flag = flagOf(options, name);
    return flag === undefined ? [] : [[name, flag] as const];
  });
  return Object.fromEntries(chosen);
}

function textOf(value: unknown, what: string, maxLength: number): string {
  if (typeof value === "string" && value.length <= maxLength) return value;
  throw refuse(`The ${what} is no text of up to ${maxLength} characters`, "Send a string in params");
}

function optionsOf(value: unknown): Readonly<Record<string, unknown>> {
  if (value === undefined || value === null) return {};
  if (typeof value === "object") return { ...value };
  throw refuse("The options are no object", "Leave them out, or send an object");
}

function flagOf(options: Readonly<Record<string, unknown>>, name: string): boolean | undefined {
  const flag = options[name];
  if (flag === undefined || typeof flag === "boolean") return flag;
  throw refuse(`The option ${name} is neither true nor false`, "Send a boolean");
}

function refuse(what: string, remedy: string): ByreError {
  return new ByreError("INVALID_ARGUMENT", `${what}. ${remedy}.`);
}
