import { expect, it } from "vitest";
import { formatAgo, formatBytes, formatMoment } from "./format.ts";

it.each([
  [0, "0 bytes"],
  [512, "512 bytes"],
  [1024, "1.0 KiB"],
  [10 * 1024 - 1, "10 KiB"],
  [1024 * 1024 - 1, "1.0 MiB"],
  [24.4 * 2 ** 20, "24 MiB"],
  [2 ** 30, "1.0 GiB"],
  [5000 * 2 ** 40, "5000 TiB"],
])("writes %d bytes as %s", (bytes, text) => {
  expect(formatBytes(bytes)).toBe(text);
});

const NOW = Date.UTC(2026, 4, 20, 12);
it.each([
  [0, "just now"],
  [-5_000, "just now"],
  [90_000, "1 minute ago"],
  [3_600_000, "1 hour ago"],
  [86_400_000, "yesterday"],
  [12 * 86_400_000, "12 days ago"],
  [40 * 86_400_000, "Apr 10, 2026"],
])("says %d ms ago as %s", (elapsed, text) => {
  expect(formatAgo(NOW - elapsed, NOW)).toBe(text);
});

it("writes a moment to the minute, in the time zone of whoever reads it", () => {
  const moment = new Date(2026, 4, 20, 15, 4, 59).getTime();
  expect(formatMoment(moment).replace(/\s/gu, " ")).toBe("May 20, 2026, 3:04 PM");
});
