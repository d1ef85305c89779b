import { parseArgs } from "node:util";
import { runFormatCampaign } from "./format-campaign.ts";

/**
 * `npm run fuzz:format -- --cases N --seed S [--first CASE]`: damaged images of every kind, each field in turn.
 * Every outcome is success or a typed error, within a second and 256 MiB.
 */
const { values } = parseArgs({
  options: {
    cases: { type: "string", default: "10000" },
    seed: { type: "string", default: `${Date.now() % 1_000_000}` },
    first: { type: "string", default: "0" },
  },
});
const cases = Number(values.cases);
const seed = Number(values.seed);
const first = Number(values.first);
const start = performance.now();
console.log(`fuzz:format: ${cases} cases, seed ${seed}`);
const findings = await runFormatCampaign({
  cases,
  seed,
  first,
  onProgress: (done) => {
    if (process.stderr.isTTY) process.stderr.write(`\r${done} of ${cases} `);
  },
});
const seconds = ((performance.now() - start) / 1000).toFixed();
for (const { index, shape, mutations = [], problem, path } of findings) {
  console.log(`\ncase ${index} (npm run fuzz:format -- --cases 1 --first ${index} --seed ${seed})`);
  if (shape) console.log(`  ${shape}: ${mutations.join("; ")}`);
  if (path) console.log(`  image: ${path}`);
  console.log(`  ${problem.replaceAll("\n", "\n  ")}`);
}
console.log(`fuzz:format: ${findings.length} of ${cases} cases failed in ${seconds} s (seed ${seed})`);
process.exitCode = findings.length > 0 ? 1 : 0;
