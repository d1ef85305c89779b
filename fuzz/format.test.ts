import { expect, test } from "vitest";
import { runFormatCampaign } from "./format-campaign.ts";

test("2,000 damaged images: success or a typed error, in time and memory", { timeout: 300_000 }, async () => {
  const findings = await runFormatCampaign({ cases: 2000, seed: 1 });
  expect(findings).toEqual([]);
});
