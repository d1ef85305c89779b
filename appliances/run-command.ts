import { spawn } from "node:child_process";

export interface CommandOptions {
  /** Added to this process's environment. */
  env?: Record<string, string>;
  cwd?: string;
  /** Text for the command's standard input; none by default. */
  input?: string;
  /** Called with each full line of output as it comes, for progress. */
  onLine?: (line: string) => void;
}

/** A command that could not be started or ended with another exit code than 0. */
export class CommandError extends Error {
  readonly command: string;
  readonly exitCode: number | undefined;
  readonly output: string;

  constructor(command: string, exitCode: number | undefined, output: string, cause?: unknown) {
    const lastLines = output.trim().split("\n").slice(-12).join("\n");
    super(`${command} ${exitCode === undefined ? "did not start" : `ended with ${exitCode}`}\n${lastLines}`, {
      cause,
    });
    this.name = "CommandError";
    this.command = command;
    this.exitCode = exitCode;
    this.output = output;
  }
}

/**
 * Runs a command without a shell and gives what it wrote to standard output.
 * Messages are asked for in English, so that they can be read by the callers.
 * @throws CommandError with the last lines of its output.
 */
export function runCommand(
  command: string,
  parameters: readonly string[],
  { env, cwd, input, onLine }: CommandOptions = {},
): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, parameters, {
      cwd,
      env: { ...process.env, LC_ALL: "C.UTF-8", ...env },
      stdio: [input === undefined ? "ignore" : "pipe", "pipe", "pipe"],
    });
    let standardOutput = "";
    let everything = "";
    let unfinishedLine = "";
    const take = (text: string) => {
      everything += text;
      if (onLine === undefined) return;
      const lines = (unfinishedLine + text).split(/\r?\n|\r/);
      unfinishedLine = lines.pop() ?? "";
      for (const line of lines) onLine(line);
    };
    child.stdout?.setEncoding("utf8").on("data", (text: string) => {
      standardOutput += text;
      take(text);
    });
    child.stderr?.setEncoding("utf8").on("data", take);
    child.on("error", (cause) => reject(new CommandError(command, undefined, String(cause), cause)));
    child.on("close", (exitCode) => {
      if (unfinishedLine !== "") onLine?.(unfinishedLine);
      if (exitCode === 0) resolve(standardOutput);
      else reject(new CommandError(command, exitCode ?? -1, everything));
    });
    if (input !== undefined) child.stdin?.end(input);
  });
}
