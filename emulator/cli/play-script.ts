import type { Machine } from "../machine.ts";
import { ExitError, RunExit } from "./run-exit.ts";
import type { ScriptStep } from "./script.ts";

/** What is kept of output that no step has waited for yet. */
const KEPT_CHARACTERS = 1024 * 1024;
/** How much of the output a failure quotes. */
const QUOTED_CHARACTERS = 400;

/**
 * Plays a script on a machine. Each text is looked for after the one that was found before it, from the first
 * output on.
 *
 * @returns whether it ended with `leave`.
 * @throws ExitError SCRIPT_FAILED with the step's line and the end of the output.
 */
export async function playScript(
  machine: Machine,
  steps: readonly ScriptStep[],
  name: string,
  signal: AbortSignal,
): Promise<boolean> {
  let output = machine.serial.text();
  const listeners = new Set<() => void>();
  const changed = () => {
    for (const listener of listeners) listener();
  };
  const removers = [
    machine.serial.onOutput((text) => {
      output = (output + text).slice(-KEPT_CHARACTERS);
      changed();
    }),
    machine.onChange(changed),
  ];
  /** Takes the output up to a text's end; false while it has not come. */
  const take = (text: string): boolean => {
    const at = output.indexOf(text);
    if (at >= 0) output = output.slice(at + text.length);
    return at >= 0;
  };
  const until = (reached: () => boolean, step: ScriptStep & { seconds: number }, what: string) =>
    new Promise<void>((resolve, reject) => {
      const end = (settle: () => void) => {
        clearTimeout(timer);
        listeners.delete(look);
        signal.removeEventListener("abort", onAbort);
        settle();
      };
      const fail = (why: string) => {
        const rest = output.slice(-QUOTED_CHARACTERS);
        const after = rest === "" ? "There was no more output." : `The output ends:\n${rest}`;
        const message = `${name}:${step.line}: ${why} before ${what}. ${after}`;
        end(() => reject(new ExitError(RunExit.SCRIPT_FAILED, message)));
      };
      const look = () => {
        if (reached()) end(resolve);
        else if (machine.state === "stopped") fail("the machine was switched off");
        else if (machine.state === "error") fail(`the machine failed (${machine.error?.message})`);
      };
      const onAbort = () => end(() => reject(signal.reason));
      const timer = setTimeout(() => fail(`${step.seconds} s passed`), step.seconds * 1000);
      listeners.add(look);
      signal.addEventListener("abort", onAbort);
      look();
    });
  try {
    for (const step of steps) {
      signal.throwIfAborted();
      if (step.do === "leave") return true;
      if (step.do === "send") machine.serial.send(step.text);
      else if (step.do === "wait")
        await until(() => take(step.text), step, `${JSON.stringify(step.text)} came`);
      else await until(() => machine.state === "stopped", step, "the machine switched itself off");
    }
    return false;
  } finally {
    for (const remove of removers) remove();
  }
}
