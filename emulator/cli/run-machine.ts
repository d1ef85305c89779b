import type { Out } from "../../disk/cli/index.ts";
import { type HeadlessOptions, startHeadlessMachine } from "../headless-machine.ts";
import type { Machine } from "../machine.ts";
import { lastWords, notStored } from "./last-words.ts";
import { playScript } from "./play-script.ts";
import { ExitError, RunExit } from "./run-exit.ts";
import type { ScriptStep } from "./script.ts";
import { attachTerminal, type TerminalStreams } from "./terminal.ts";
import type { TerminalWatch } from "./terminal-loss.ts";

export interface RunOptions {
  /** Saves the machine under this name when it is left. */
  readonly saveAs: string | undefined;
  readonly script: { readonly name: string; readonly steps: readonly ScriptStep[] } | undefined;
  readonly timeLimitSeconds: number | undefined;
}

export interface RunSurroundings {
  readonly streams: TerminalStreams;
  readonly out: Out;
  /** Of all these streams. Begins here, and is for whoever closes the disks to stop. */
  readonly watch: TerminalWatch;
  /** Called when the machine runs. */
  readonly onStarted?: () => void;
}

/** Why a run ends. */
interface Ending {
  readonly exitCode: number;
  readonly message?: string;
  /** The machine is saved, if that was asked for: it was left in good order. */
  readonly saves: boolean;
}

const SIGNALS = {
  SIGINT: RunExit.INTERRUPTED,
  SIGTERM: RunExit.TERMINATED,
} as const;

/**
 * Runs a machine with its serial port on a terminal, until the guest switches it off or it is left.
 *
 * @throws ExitError for every end but a good one; ByreError for a machine that cannot be started.
 */
export async function runMachine(
  machineOptions: HeadlessOptions,
  options: RunOptions,
  surroundings: RunSurroundings,
): Promise<void> {
  const { streams, out, watch, onStarted } = surroundings;
  const machine = await startHeadlessMachine(machineOptions);
  onStarted?.();
  watch.begin();
  try {
    if (streams.input.isTTY) out.err("byre: Ctrl-A X leaves, Ctrl-A H helps.\n");
    const ending = await untilEnded(machine, options, surroundings);
    await conclude(machine, ending, options, out);
    if (ending.exitCode !== RunExit.OK || ending.message !== undefined)
      throw new ExitError(ending.exitCode, ending.message);
  } finally {
    await machine.close();
  }
}

async function untilEnded(
  machine: Machine,
  { script, timeLimitSeconds }: RunOptions,
  { streams, out, watch }: RunSurroundings,
): Promise<Ending> {
  const over = new AbortController();
  let isPlaying = script !== undefined;
  const undo: (() => void)[] = [];
  try {
    return await new Promise<Ending>((end, fail) => {
      const leave = () => end({ exitCode: RunExit.OK, saves: true });
      const say = (message: string) => out.err(`\r\nbyre: ${message}\r\n`);
      const retry = () => {
        if (machine.state !== "error") return;
        // What went wrong again is told by the change of state.
        machine.retry().catch(() => undefined);
      };
      const look = () => {
        if (machine.state === "stopped") end({ exitCode: RunExit.OK, saves: false });
        if (machine.state !== "error") return;
        const { error } = machine;
        if (isPlaying || !error) return;
        if (streams.input.isTTY && error.code !== "GUEST_CRASH")
          say(`${error.message} The machine waits: Ctrl-A R tries again, Ctrl-A X leaves.`);
        else
          end({
            exitCode: RunExit.MACHINE_FAILED,
            message: lastWords(error.cause ?? error.message),
            saves: false,
          });
      };
      undo.push(attachTerminal(machine, streams, { onLeave: leave, onRetry: retry }));
      undo.push(machine.onChange(look));
      undo.push(onSignals((exitCode) => end({ exitCode, saves: true })));
      undo.push(watch.onLoss((loss) => end({ ...loss, saves: true })));
      if (timeLimitSeconds !== undefined) {
        const message = `the time limit of ${timeLimitSeconds} s is over.`;
        const timer = setTimeout(
          () => end({ exitCode: RunExit.TIME_LIMIT, message, saves: true }),
          timeLimitSeconds * 1000,
        );
        undo.push(() => clearTimeout(timer));
      }
      if (script)
        playScript(machine, script.steps, script.name, over.signal).then(
          (left) => {
            isPlaying = false;
            if (left) leave();
            else look();
          },
          (error: unknown) => {
            if (error instanceof ExitError)
              end({ exitCode: error.exitCode, message: error.message, saves: false });
            else if (!over.signal.aborted) fail(error);
          },
        );
      look();
    });
  } finally {
    over.abort();
    for (const each of undo.reverse()) each();
    if (streams.input.isTTY && !watch.loss) streams.output.write("\x1b[0m\r\n");
  }
}

/** Brings what the guest wrote to where it stays, and the machine too if that was asked for. */
async function conclude(machine: Machine, ending: Ending, { saveAs }: RunOptions, out: Out): Promise<void> {
  // Asked once more to end while this takes its time: at once then. What is in the image is whole at any moment.
  const stopWaiting = onSignals((exitCode) => process.exit(exitCode));
  let isStored = false;
  try {
    if (saveAs !== undefined && ending.saves && machine.state !== "stopped") {
      if (out.isTerminal) out.err(`byre: saving the machine as "${saveAs}"\n`);
      try {
        await machine.save(saveAs, { thenStop: true });
      } catch (error) {
        // The guest has gone on, and perhaps written.
        await machine.powerOff();
        isStored = true;
        throw error;
      }
      return;
    }
    if (saveAs !== undefined)
      out.err(`byre: nothing was saved as "${saveAs}": the machine was not running at its end.\n`);
    await machine.powerOff();
  } catch (error) {
    const what = isStored ? `The machine is not saved: ${lastWords(error)}` : notStored(error);
    if (ending.message !== undefined) throw new ExitError(ending.exitCode, `${ending.message} ${what}`);
    throw new ExitError(isStored ? RunExit.FAILED : RunExit.MACHINE_FAILED, what);
  } finally {
    stopWaiting();
  }
}

function onSignals(listener: (exitCode: number) => void): () => void {
  const removers = Object.entries(SIGNALS).map(([signal, exitCode]) => {
    const onSignal = () => listener(exitCode);
    process.on(signal, onSignal);
    return () => void process.off(signal, onSignal);
  });
  return () => {
    for (const remove of removers) remove();
  };
}
