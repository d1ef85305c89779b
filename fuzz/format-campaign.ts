import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { buildShapes } from "./format-shapes.ts";

/** One case that did not go as it should. */
export interface FormatFinding {
  readonly seed: number;
  readonly index: number;
  readonly shape?: string;
  readonly mutations?: readonly string[];
  readonly problem: string;
  /** The image, saved. */
  readonly path?: string;
}

export interface FormatCampaign {
  readonly cases: number;
  readonly seed: number;
  /** Case to begin with: 0 unless one is to be run again. */
  readonly first?: number;
  readonly onProgress?: (done: number) => void;
}

/** A case that is not over by then hangs. */
const HANG_MILLISECONDS = 30_000;
const LOOK_MILLISECONDS = 500;
const MAX_OLD_SPACE_MIB = 256;
/** Then something is so broken that more of the same says nothing. */
const MAX_FINDINGS = 50;

/**
 * Runs cases in a process of their own, which may hang or die without harm, and gives what was found. The
 * images of findings stay in a temporary folder.
 */
export async function runFormatCampaign(campaign: FormatCampaign): Promise<readonly FormatFinding[]> {
  const { cases, seed, first = 0, onProgress } = campaign;
  const folder = mkdtempSync(join(tmpdir(), "byre-fuzz-format-"));
  await buildShapes(folder);
  const findings: FormatFinding[] = [];
  const end = first + cases;
  for (let from = first; from < end && findings.length < MAX_FINDINGS; ) {
    const stopped = await runWorker(folder, seed, from, end, (index) => onProgress?.(index - first));
    const at = stopped === undefined ? end : caseAt(folder, from);
    if (stopped !== undefined) findings.push({ seed, index: at, problem: stopped });
    from = at + 1;
  }
  const path = join(folder, "found.jsonl");
  if (existsSync(path))
    for (const line of readFileSync(path, "utf8").split("\n"))
      if (line !== "") findings.push(JSON.parse(line) as FormatFinding);
  if (findings.length === 0) rmSync(folder, { recursive: true, force: true });
  return findings;
}

/** @returns undefined when every case was run, else how the process ended before that. */
function runWorker(
  folder: string,
  seed: number,
  from: number,
  to: number,
  onCase: (index: number) => void,
): Promise<string | undefined> {
  const worker = fileURLToPath(new URL("./format-worker.ts", import.meta.url));
  const child = spawn(
    process.execPath,
    [
      `--max-old-space-size=${MAX_OLD_SPACE_MIB}`,
      "--import",
      "tsx",
      worker,
      folder,
      `${seed}`,
      `${from}`,
      `${to}`,
    ],
    { stdio: ["ignore", "inherit", "pipe"] },
  );
  let errors = "";
  child.stderr?.setEncoding("utf8").on("data", (text: string) => {
    errors = (errors + text).slice(-4000);
  });
  return new Promise((resolve) => {
    const stopWatching = watch(child, () => caseAt(folder, from), onCase);
    child.on("close", (code, signal) => {
      const hung = stopWatching();
      if (hung) resolve(`hung for ${HANG_MILLISECONDS / 1000} s`);
      else
        resolve(
          code === 0 ? undefined : `ended the process (${signal ?? `exit ${code}`}): ${summary(errors)}`,
        );
    });
  });
}

/** Node's last words without its own stack. */
function summary(errors: string): string {
  const lines = errors.split("\n").filter((line) => line.trim() !== "" && !/^\s*\d+: 0x/.test(line));
  return lines.slice(-12).join("\n");
}

/** Ends the process when it stays at one case. @returns stops watching and tells whether that happened. */
function watch(child: ChildProcess, caseNow: () => number, onCase: (index: number) => void): () => boolean {
  let last = -1;
  let since = Date.now();
  let hung = false;
  const timer = setInterval(() => {
    const now = caseNow();
    if (now !== last) {
      last = now;
      since = Date.now();
      onCase(now);
    } else if (Date.now() - since > HANG_MILLISECONDS) {
      hung = true;
      child.kill("SIGKILL");
    }
  }, LOOK_MILLISECONDS);
  return () => {
    clearInterval(timer);
    return hung;
  };
}

function caseAt(folder: string, from: number): number {
  const path = join(folder, "at");
  const text = existsSync(path) ? readFileSync(path, "utf8").trim() : "";
  return text === "" ? from : Math.max(from, Number(text));
}
