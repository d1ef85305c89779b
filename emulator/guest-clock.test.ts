import { expect, test } from "vitest";
import { createGuestClock } from "./guest-clock.ts";

test("counts what the guest has run, and not its stops", () => {
  let nowMs = 1000;
  const clock = createGuestClock(() => nowMs);
  nowMs += 5;
  expect(clock.nanoseconds).toBe(0n);
  clock.start();
  nowMs += 2.5;
  expect(clock.nanoseconds).toBe(2_500_000n);
  clock.stop();
  nowMs += 100;
  clock.stop();
  expect(clock.nanoseconds).toBe(2_500_000n);
  clock.start();
  clock.start();
  nowMs += 1;
  expect(clock.nanoseconds).toBe(3_500_000n);
});

test("goes on from the time it is set to, running or not", () => {
  let nowMs = 0;
  const clock = createGuestClock(() => nowMs);
  clock.set(7_000_000n);
  nowMs += 1;
  expect(clock.nanoseconds).toBe(7_000_000n);
  clock.start();
  nowMs += 1;
  clock.set(0n);
  nowMs += 1;
  expect(clock.nanoseconds).toBe(1_000_000n);
});
