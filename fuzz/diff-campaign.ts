import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type DiffOutcome, makeRunFolder, runDiff } from "./diff-run.ts";

export interface DiffCampaign {
  readonly seconds: number;
  readonly seed: number;
  /** Runs this one alone. */
  readonly only?: number;
  readonly onRun?: (index: number) => void;
}

export interface DiffReport {
  readonly runs: number;
  readonly steps: number;
  /** The first run that failed; its files stay in `folder`. */
  readonly failure: (DiffOutcome & { readonly index: number; readonly folder: string }) | undefined;
}

/** Runs random scripts until the time is over or one fails. A run that has begun is finished. */
export async function runDiffCampaign(campaign: DiffCampaign): Promise<DiffReport> {
  const { seconds, seed, only, onRun } = campaign;
  const parent = mkdtempSync(join(tmpdir(), "byre-fuzz-diff-"));
  const end = performance.now() + seconds * 1000;
  let runs = 0;
  let steps = 0;
  for (let index = only ?? 0; runs === 0 || performance.now() < end; index++) {
    onRun?.(index);
    const folder = makeRunFolder(parent, index);
    const outcome = await runDiff(seed, index, folder);
    runs++;
    steps += outcome.steps;
    if (outcome.problem !== undefined) return { runs, steps, failure: { ...outcome, index, folder } };
    rmSync(folder, { recursive: true, force: true });
    if (only !== undefined) break;
  }
  rmSync(parent, { recursive: true, force: true });
  return { runs, steps, failure: undefined };
}
