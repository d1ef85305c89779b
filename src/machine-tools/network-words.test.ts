import { expect, it } from "vitest";
import { networkWords } from "./network-words.ts";

const RELAY = { kind: "relay", url: "wisps://relay.example:8443/a/b?c" } as const;

it.each([
  [{ choice: { kind: "off" }, state: "off" }, "Network off"],
  [{ choice: { kind: "fetch" }, state: "on" }, "Network on through the browser"],
  [{ choice: RELAY, state: "on" }, "Network on through relay.example:8443"],
  [{ choice: RELAY, state: "connecting" }, "Network waits for relay.example:8443"],
  [
    { choice: RELAY, state: "failed", problem: "It does not answer." },
    "Network fails through relay.example:8443 It does not answer.",
  ],
] as const)("tells of %j", (network, words) => {
  const { short, more, problem } = networkWords({ problem: undefined, ...network });
  expect([short, more, problem].filter(Boolean).join(" ")).toBe(words);
});
