import { expect, test } from "vitest";
import { indexInSorted, layerRanges, NumberList } from "./check-ranges.ts";

test("ranges over each other become pieces with the sum of their weights", () => {
  expect(
    layerRanges([
      { start: 10, end: 20, active: 1, inactive: 0 },
      { start: 15, end: 30, active: 0, inactive: 2 },
      { start: 15, end: 20, active: 0, inactive: 1 },
      { start: 40, end: 40, active: 1, inactive: 0 },
      { start: 50, end: 51, active: 0, inactive: 1 },
    ]),
  ).toEqual([
    { start: 10, end: 15, active: 1, inactive: 0 },
    { start: 15, end: 20, active: 1, inactive: 3 },
    { start: 20, end: 30, active: 0, inactive: 2 },
    { start: 50, end: 51, active: 0, inactive: 1 },
  ]);
});

test("a list of numbers grows, and is sorted without doubles", () => {
  const list = new NumberList();
  for (let i = 5000; i > 0; i--) list.push(Math.floor(i / 2));
  const sorted = list.sortedUnique();
  expect(sorted.length).toBe(2501);
  expect(sorted[0]).toBe(0);
  expect(indexInSorted(sorted, 1234)).toBe(1234);
});
