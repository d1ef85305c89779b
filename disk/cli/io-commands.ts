import { discard, flush, truncate } from "./io-change.ts";
import type { IoCommand } from "./io-command.ts";
import { read, readv } from "./io-read.ts";
import { alloc, length, map } from "./io-status.ts";
import { IoFailure } from "./io-text.ts";
import { write, writev } from "./io-write.ts";

/** The commands, in their names' order, as `help` lists them. */
export const IO_COMMANDS: readonly IoCommand[] = [
  alloc,
  discard,
  flush,
  length,
  map,
  read,
  readv,
  truncate,
  write,
  writev,
];

export function findIoCommand(name: string): IoCommand | undefined {
  return IO_COMMANDS.find((command) => command.name === name || command.short === name);
}

const HELP_LINE = "help [command] -- help for one or all commands\n";

/**
 * What `help` prints.
 *
 * @throws IoFailure for a command that there is not.
 */
export function ioHelp(name: string | undefined): string {
  if (name === "help" || name === "?") return HELP_LINE;
  if (name !== undefined) {
    const command = findIoCommand(name);
    if (!command) throw new IoFailure(`command ${name} not found`);
    return ioUsageLine(command);
  }
  const lines = [...IO_COMMANDS.map(ioUsageLine), HELP_LINE].sort();
  return `${lines.join("")}\nUse 'help commandname' for extended help.\n`;
}

/** What a command takes, in a line. */
export function ioUsageLine({ name, usage, summary }: IoCommand): string {
  return `${name} ${usage === "" ? "" : `${usage} `}-- ${summary}\n`;
}
