import { ExitCode, ExitError } from "./exit.ts";

const CTRL_C = "\u0003";
const CTRL_D = "\u0004";
const BACKSPACES = ["\u007f", "\b"];

/** Whether there is a person to ask. */
export function canAsk(): boolean {
  return process.stdin.isTTY === true && process.stderr.isTTY === true;
}

/**
 * Asks for a password on the terminal, showing nothing of it.
 *
 * @throws ExitError when it is interrupted.
 */
export async function askPassword(question: string): Promise<Uint8Array> {
  const { stdin, stderr } = process;
  stderr.write(question);
  stdin.setRawMode(true);
  stdin.setEncoding("utf8");
  stdin.resume();
  try {
    return new TextEncoder().encode(await readLine(stdin));
  } finally {
    stdin.setRawMode(false);
    stdin.pause();
    stderr.write("\n");
  }
}

function readLine(stdin: NodeJS.ReadStream): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = "";
    const done = (finish: () => void) => {
      stdin.off("data", onData);
      finish();
    };
    const onData = (chunk: string) => {
      for (const character of chunk) {
        if (character === "\r" || character === "\n" || character === CTRL_D)
          return done(() => resolve(text));
        if (character === CTRL_C)
          return done(() => reject(new ExitError(ExitCode.INTERRUPTED, "interrupted.")));
        text = BACKSPACES.includes(character) ? [...text].slice(0, -1).join("") : text + character;
      }
    };
    stdin.on("data", onData);
  });
}
