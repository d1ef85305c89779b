import { ExitError, RunExit } from "./run-exit.ts";

/** One step of a script. */
export type ScriptStep =
  | { readonly do: "wait"; readonly text: string; readonly seconds: number; readonly line: number }
  | { readonly do: "wait-off"; readonly seconds: number; readonly line: number }
  | { readonly do: "send"; readonly text: string; readonly line: number }
  | { readonly do: "leave"; readonly line: number };

/** How long a script waits where it does not say: longer than a boot takes on a busy machine. */
const DEFAULT_WAIT_SECONDS = 60;
/** A timer cannot wait much longer. */
export const MAX_SECONDS = 2_000_000;
/** More lines than a person writes. */
const MAX_STEPS = 10_000;

const STEP = /^(\w+)(?:\s+("(?:[^"\\]|\\.)*"|off)(?:\s+(\S+))?)?\s*(?:#.*)?$/;
const ESCAPES: Readonly<Record<string, string>> = {
  n: "\n",
  r: "\r",
  t: "\t",
  e: "\x1b",
  '"': '"',
  "\\": "\\",
};

/**
 * Reads a script: a step a line. `wait "text" [seconds]`, `wait off [seconds]`, `send "text"`, `leave`; `#` begins a
 * comment. In texts `\n \r \t \e \" \\ \xHH` mean what they do elsewhere.
 *
 * @param name the file's, for messages.
 * @throws ExitError naming the first line that is no step.
 */
export function parseScript(text: string, name: string): readonly ScriptStep[] {
  const steps: ScriptStep[] = [];
  for (const [index, source] of text.split(/\r?\n/).entries()) {
    const trimmed = source.trim();
    if (trimmed === "" || trimmed.startsWith("#")) continue;
    const fail = (what: string): never => {
      throw new ExitError(RunExit.FAILED, `${name}:${index + 1}: ${what}`);
    };
    if (steps.length === MAX_STEPS) fail(`a script has at most ${MAX_STEPS} steps.`);
    steps.push(parseStep(trimmed, index + 1, fail));
  }
  return steps;
}

function parseStep(source: string, line: number, fail: (what: string) => never): ScriptStep {
  const [, word, what, number] = STEP.exec(source) ?? [];
  if (word === undefined)
    return fail(`this is no step: ${source}. Texts stand in double quotes, and a step is alone in its line.`);
  const text = what?.startsWith('"') ? unescaped(what.slice(1, -1), fail) : undefined;
  if (word === "leave" && what === undefined) return { do: "leave", line };
  if (word === "send" && text !== undefined && number === undefined) return { do: "send", text, line };
  if (word === "wait" && what !== undefined) {
    const seconds = number === undefined ? DEFAULT_WAIT_SECONDS : Number(number);
    if (!(seconds > 0 && seconds <= MAX_SECONDS))
      fail(`${number} is no number of seconds of at most ${MAX_SECONDS}.`);
    if (text === "") fail("there is no text to wait for.");
    return text === undefined ? { do: "wait-off", seconds, line } : { do: "wait", text, seconds, line };
  }
  return fail(
    `this is no step: ${source}. Steps are wait "text" [seconds], wait off [seconds], send "text" and leave.`,
  );
}

function unescaped(text: string, fail: (what: string) => never): string {
  return text.replace(/\\(x[0-9a-fA-F]{2}|.)/gs, (whole, name: string) => {
    if (name.length === 3) return String.fromCharCode(Number.parseInt(name.slice(1), 16));
    return ESCAPES[name] ?? fail(`${whole} means nothing; there are \\n \\r \\t \\e \\" \\\\ and \\xHH.`);
  });
}
