import { expect, it } from "vitest";
import type { ApplianceFacts } from "./appliance-facts.ts";
import { createFactsQueue } from "./facts-queue.ts";

const ABSENT: ApplianceFacts = { state: "absent", message: "" };

it("looks at each appliance once, four at a time, in the order they were asked for", async () => {
  const begun: string[] = [];
  const found: string[] = [];
  let running = 0;
  let most = 0;
  let allFound = () => {};
  const done = new Promise<void>((resolve) => {
    allFound = resolve;
  });
  const queue = createFactsQueue(
    (url) => {
      found.push(url);
      if (found.length === 50) allFound();
    },
    new AbortController().signal,
    async (url) => {
      begun.push(url);
      most = Math.max(most, ++running);
      await new Promise((resolve) => setImmediate(resolve));
      running--;
      return ABSENT;
    },
  );
  const urls = Array.from({ length: 50 }, (_, index) => `https://example.org/${index}`);
  for (const url of [...urls, ...urls]) queue.look(url);
  await done;
  expect(begun).toEqual(urls);
  expect(found.toSorted()).toEqual(urls.toSorted());
  expect(most).toBe(4);
});

it("begins no look once it was called off", async () => {
  const abort = new AbortController();
  const begun: string[] = [];
  const queue = createFactsQueue(
    () => {},
    abort.signal,
    async (url) => {
      begun.push(url);
      abort.abort();
      throw abort.signal.reason;
    },
  );
  queue.look("https://example.org/1");
  queue.look("https://example.org/2");
  await Promise.resolve();
  expect(begun).toEqual(["https://example.org/1"]);
});
