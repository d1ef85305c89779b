import { expect, test } from "vitest";
import { hasQemu } from "../disk/testing/qemu.ts";
import { runDiffCampaign } from "./diff-campaign.ts";

test.skipIf(!hasQemu)(
  "random scripts give the same through QEMU and through us, for half a minute",
  { timeout: 180_000 },
  async () => {
    const { runs, failure } = await runDiffCampaign({ seconds: 30, seed: 1 });
    if (failure) expect.fail(`run ${failure.index}: ${failure.problem}\n${failure.script.join("\n")}`);
    expect(runs).toBeGreaterThan(0);
  },
);
