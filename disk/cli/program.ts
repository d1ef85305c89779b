import { COMMANDS, type Commands } from "./commands.ts";
import { exitWhenInterrupted } from "./interrupt.ts";
import { processOut } from "./out.ts";
import { runByre } from "./run.ts";

/**
 * Runs the command line of this process and sets its exit code.
 *
 * @param more commands of the floors above, which know machines.
 */
export async function runProgram(more: Commands): Promise<void> {
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    // What else listens has something to do first.
    if (process.stdout.listenerCount("error") > 1) return;
    if (error.code !== "EPIPE") throw error;
    // A reader that has seen enough (`byre map disk.qcow2 | head`) is no failure of ours.
    process.exit(0);
  });
  // A message that nobody can read ends no work, and changes no exit code.
  process.stderr.on("error", () => {});

  const out = processOut();
  exitWhenInterrupted(out);
  process.exitCode = await runByre(process.argv.slice(2), out, { ...COMMANDS, ...more });
}
