import { parseArgs } from "node:util";
import { runDiffCampaign } from "./diff-campaign.ts";

/**
 * `npm run fuzz:diff -- --seconds N --seed S [--run K]`: the same random script through QEMU and through us, on
 * images that each made. Stops at the first difference and tells how to come to it again.
 */
const { values } = parseArgs({
  options: {
    seconds: { type: "string", default: "60" },
    seed: { type: "string", default: `${Date.now() % 1_000_000}` },
    run: { type: "string" },
  },
});
const seed = Number(values.seed);
const start = performance.now();
console.log(
  `fuzz:diff: ${values.run === undefined ? `${values.seconds} s` : `run ${values.run}`}, seed ${seed}`,
);
const { runs, steps, failure } = await runDiffCampaign({
  seconds: Number(values.seconds),
  seed,
  ...(values.run !== undefined && { only: Number(values.run) }),
  onRun: (index) => {
    if (process.stderr.isTTY) process.stderr.write(`\rrun ${index} `);
  },
});
if (failure) {
  console.log(
    `\nrun ${failure.index} (npm run fuzz:diff -- --run ${failure.index} --seed ${seed}), in ${failure.folder}:`,
  );
  for (const line of failure.script) console.log(`  ${line}`);
  console.log(`\n${failure.problem}`);
}
const seconds = ((performance.now() - start) / 1000).toFixed();
console.log(
  `fuzz:diff: ${failure ? "a difference" : "no difference"} in ${runs} runs, ${steps} steps, ${seconds} s (seed ${seed})`,
);
process.exitCode = failure ? 1 : 0;
