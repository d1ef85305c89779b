import { createInterface } from "node:readline";
import { Command } from "commander";
import { ByreError, type ByreErrorCode } from "../errors.ts";
import { checkCacheMode } from "./cache-mode.ts";
import {
  addImageOptions,
  collect,
  helpText,
  type ImageOptionValues,
  imageOptionsOf,
} from "./common-options.ts";
import { ExitCode, ExitError } from "./exit.ts";
import type { IoCommand, IoContext } from "./io-command.ts";
import { findIoCommand, ioHelp, ioUsageLine } from "./io-commands.ts";
import { checkDiscardMode, IoFailure, IoUsage } from "./io-text.ts";
import { openImage } from "./open-image.ts";
import { type Out, warningsTo } from "./out.ts";

/** What C's library calls the failures that programs look for in qemu-io's output. */
const ERROR_TEXT: Partial<Record<ByreErrorCode, string>> = {
  READ_ONLY: "Operation not permitted",
  INVALID_ARGUMENT: "Invalid argument",
  UNSUPPORTED_FEATURE: "Operation not supported",
  TOO_LARGE: "File too large",
  QUOTA_EXCEEDED: "No space left on device",
};
const OTHER_ERROR_TEXT = "Input/output error";

/** The one command that needs no image. */
const HELP = { name: "help", minArguments: 0, maxArguments: 1 } as const;

export interface IoValues extends ImageOptionValues {
  readonly cmd?: readonly string[];
  readonly readOnly?: boolean;
  readonly snapshot?: boolean;
  readonly discard?: string;
  readonly cache?: string;
}

export function createCommand(out: Out): Command {
  const command = new Command("io")
    .description("Reads and writes a disk by hand, with qemu-io's commands; 'byre io -c help' lists them.")
    .argument("[file]", "the image")
    .option(
      "-c, --cmd <command>",
      "a command; may be given again and again. Else they are read from stdin",
      collect,
    )
    .option("-r, --read-only", "open it for reading only")
    .option("-d, --discard <mode>", "unmap (the default) or ignore")
    .option("-t, --cache <mode>", "taken as qemu-io's: what is written is durable when the command ends")
    .option("-n, --nocache", "as -t none")
    .option("-s, --snapshot", "refused: byre io has no temporary overlays")
    .option("-m, --misalign", "taken as qemu-io's, and without effect")
    .option("-k, --native-aio", "taken as qemu-io's, and without effect")
    .option("-i, --aio <mode>", "taken as qemu-io's, and without effect")
    .option("-C, --copy-on-read", "taken as qemu-io's, and without effect");
  return addImageOptions(command)
    .addHelpText(
      "after",
      helpText(
        [
          "byre io -c 'write -P 0x55 0 64k' -c 'read -P 0x55 0 64k' disk.qcow2",
          "byre io -r -c map disk.qcow2",
        ],
        { 0: "every command did what it was asked", 1: "one did not, or the image could not be opened" },
      ),
    )
    .action(async (file: string | undefined, values: IoValues) => {
      await io(file, values, out);
    });
}

/**
 * Runs commands on an image.
 *
 * @throws ExitError 1 when one of them failed; all of them have been run then.
 */
export async function io(
  file: string | undefined,
  values: IoValues,
  out: Out,
  lines: () => AsyncIterable<string> = stdinLines,
): Promise<void> {
  if (values.discard !== undefined) checkDiscardMode(values.discard);
  checkCacheMode(values.cache);
  if (values.snapshot)
    throw new ExitError(
      ExitCode.FAILED,
      "-s is not supported: make an overlay with byre create -b, and use that.",
    );
  const opened =
    file === undefined
      ? undefined
      : await openImage(file, {
          ...imageOptionsOf(values),
          writable: !values.readOnly,
          onWarning: warningsTo(out),
        });
  const context = opened && {
    device: opened.device,
    file: opened.file,
    out,
    discards: values.discard !== "off" && values.discard !== "ignore",
  };
  let failed = false;
  try {
    if (values.cmd) {
      for (const line of values.cmd) {
        if (isQuit(line)) break;
        if (!(await runLine(line, context, out))) failed = true;
      }
    } else {
      out.out("byre io> ");
      for await (const line of lines()) {
        if (isQuit(line)) break;
        if (!(await runLine(line, context, out))) failed = true;
        out.out("byre io> ");
      }
    }
  } finally {
    await context?.device.close();
  }
  if (failed) throw new ExitError(ExitCode.FAILED);
}

function isQuit(line: string): boolean {
  return /^\s*(quit|q)(\s|$)/.test(line);
}

/** @returns whether it did what it was asked; what went wrong has been said. */
async function runLine(line: string, context: IoContext | undefined, out: Out): Promise<boolean> {
  const [name, ...words] = line.split(" ").filter((word) => word !== "");
  if (name === undefined) return true;
  const isHelp = name === "help" || name === "?";
  const command = isHelp ? HELP : findIoCommand(name);
  if (!command) {
    out.err(`command "${name}" not found\n`);
    return false;
  }
  if (!context && !isHelp) {
    out.err("no file open: name one after the commands\n");
    return false;
  }
  const { minArguments, maxArguments } = command;
  if (words.length < minArguments || words.length > maxArguments) {
    const expected =
      maxArguments === Number.POSITIVE_INFINITY
        ? `at least ${minArguments}`
        : minArguments === maxArguments
          ? `${minArguments}`
          : `between ${minArguments} and ${maxArguments}`;
    out.err(`bad argument count ${words.length} to ${name}, expected ${expected} arguments\n`);
    return false;
  }
  if ("run" in command && command.writes && context && !context.device.writable) {
    out.err("byre: Block node is read-only\n");
    return false;
  }
  try {
    if (context && "run" in command) await command.run(context, words);
    else out.out(ioHelp(words[0]));
    return true;
  } catch (error) {
    explain(error, command, out);
    return false;
  }
}

function explain(error: unknown, command: IoCommand | typeof HELP, out: Out): void {
  const { name } = command;
  if (error instanceof IoUsage && "run" in command) out.out(ioUsageLine(command));
  else if (error instanceof IoFailure) {
    if (error.message !== "") out.out(`${error.message}\n`);
  } else if (error instanceof ByreError) {
    if (name !== "truncate" && name !== "flush")
      out.out(`${name} failed: ${ERROR_TEXT[error.code] ?? OTHER_ERROR_TEXT}\n`);
    // What C's library has no words for.
    if (error.code !== "OUT_OF_RANGE") out.err(`byre: ${error.message}\n`);
  } else throw error;
}

function stdinLines(): AsyncIterable<string> {
  return createInterface({ input: process.stdin });
}
