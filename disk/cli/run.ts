import { Command, CommanderError } from "commander";
import { ByreError } from "../errors.ts";
import { COMMANDS, type Commands } from "./commands.ts";
import { ExitCode, ExitError } from "./exit.ts";
import type { Out } from "./out.ts";
import { VERSION } from "./version.ts";

/**
 * Runs the command line once.
 *
 * @param words what follows `byre`.
 * @param commands those there are. Default: all on images.
 * @returns the exit code; 1 for anything wrong unless the command has a code of its own for it.
 */
export async function runByre(
  words: readonly string[],
  out: Out,
  commands: Commands = COMMANDS,
): Promise<number> {
  try {
    await dispatch(words, out, commands);
    return ExitCode.OK;
  } catch (error) {
    return report(error, out);
  }
}

async function dispatch(words: readonly string[], out: Out, commands: Commands): Promise<void> {
  const [name = "", ...rest] = words;
  if (words.length === 0)
    throw new ExitError(ExitCode.FAILED, "which command? Try 'byre --help' for the list of them.");
  if (name === "help" && rest.length > 0) return await dispatch([rest[0] ?? "", "--help"], out, commands);
  const entry = Object.hasOwn(commands, name) ? commands[name] : undefined;
  if (!entry && !name.startsWith("-") && name !== "help")
    throw new ExitError(
      ExitCode.FAILED,
      `there is no command '${name}'. Try 'byre --help' for the list of them.`,
    );
  const program = programFor(out);
  if (!entry) {
    addSummaries(program, commands);
    // `-V` and `-T` are spelt as qemu-img spells them.
    await program.parseAsync(words.length === 1 && name === "help" ? ["--help"] : words, { from: "user" });
    return;
  }
  const { createCommand, prepareArguments } = await entry.load();
  const command = createCommand(out);
  program.addCommand(command);
  settle(command, out);
  const prepared = unabbreviated(command, prepareArguments ? prepareArguments(rest) : rest);
  await program.parseAsync([name, ...prepared], { from: "user" });
}

/** Completes long options that were cut short, where only one begins so: getopt takes them, so scripts have them. */
function unabbreviated(command: Command, words: readonly string[]): string[] {
  const known = [...command.options.map(({ long }) => long ?? ""), "--help"];
  const end = words.indexOf("--");
  return words.map((word, index) => {
    const [, name = "", rest = ""] = /^(--[^=]+)(=.*)?$/s.exec(word) ?? [];
    if (name === "" || known.includes(name) || (end >= 0 && index > end)) return word;
    const matches = known.filter((long) => long.startsWith(name));
    return matches.length === 1 ? `${matches[0]}${rest}` : word;
  });
}

function programFor(out: Out): Command {
  const program = new Command("byre")
    .usage("COMMAND [options]")
    .description(
      "Virtual machines and their disk images: what qemu-img and qemu-io do, metadata, and machines in the terminal.",
    )
    .version(`byre ${VERSION}`, "-V, --version", "say which version this is")
    .helpCommand(false)
    .addHelpText("after", "\n'byre COMMAND --help' has a command's options, exit codes and examples.");
  settle(program, out);
  return program;
}

/** Help alone needs names and summaries; the modules stay unloaded. */
function addSummaries(program: Command, commands: Commands): void {
  for (const name of Object.keys(commands).sort())
    program.command(name).summary(commands[name]?.summary ?? "");
}

/** Makes commander throw instead of exiting, and write where the command writes. */
function settle(command: Command, out: Out): void {
  command
    .exitOverride()
    .showSuggestionAfterError(true)
    .helpOption("-h, --help", "say how to use it")
    .configureOutput({
      writeOut: (text) => out.out(text),
      writeErr: (text) => out.err(text),
      outputError: (text, write) => write(`byre: ${text.replace(/^error: /, "")}`),
    });
  for (const below of command.commands) settle(below, out);
}

function report(error: unknown, out: Out): number {
  if (error instanceof ExitError) {
    if (error.message !== "") out.err(`byre: ${error.message}\n`);
    return error.exitCode;
  }
  // Commander has written its own message.
  if (error instanceof CommanderError) return error.exitCode === 0 ? ExitCode.OK : ExitCode.FAILED;
  if (error instanceof ByreError) {
    out.err(`byre: ${error.message}\n`);
    return ExitCode.FAILED;
  }
  const reason = error instanceof Error ? (error.stack ?? error.message) : String(error);
  out.err(`byre: this is a bug in byre, please report it: ${reason}\n`);
  return ExitCode.FAILED;
}
