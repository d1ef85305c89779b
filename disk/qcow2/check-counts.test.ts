import { describe, expect, test } from "vitest";
import { ClusterCounts } from "./check-counts.ts";

describe("counts of clusters", () => {
  test("hold any width, and what could not be read", () => {
    const counts = new ClusterCounts(10_000);
    const values: [number, number][] = [
      [0, 1],
      [1, 255],
      [2, 256],
      [4095, 65536],
      [4096, 3],
      [9000, 2 ** 40],
      [9001, Number.POSITIVE_INFINITY],
      [9002, Number.NaN],
      [9003, 7],
    ];
    for (const [cluster, count] of values) counts.set(cluster, count);
    for (const [cluster, count] of values) expect(counts.get(cluster)).toBe(count);
    expect(counts.get(5000)).toBe(0);
  });

  test("stop at a limit and say what did not fit", () => {
    const counts = new ClusterCounts(10);
    expect(counts.add(3, 2, 3)).toBe(0);
    expect(counts.add(3, 5, 3)).toBe(4);
    expect(counts.get(3)).toBe(3);
  });

  test("are compared without touching what neither counts", () => {
    const stored = new ClusterCounts(2 ** 31);
    const referenced = new ClusterCounts(2 ** 31);
    stored.set(5, 2);
    referenced.set(5, 2);
    stored.set(2 ** 31 - 9, 1);
    referenced.set(7, Number.NaN);
    const seen: number[] = [];
    const last = ClusterCounts.compare(stored, referenced, 2 ** 31, (cluster) => seen.push(cluster));
    expect(seen).toEqual([7, 2 ** 31 - 9]);
    expect(last).toBe(2 ** 31 - 9);
  });

  test("find the next that is counted", () => {
    const counts = new ClusterCounts(20_000);
    counts.set(9000, 1);
    counts.set(9001, 1);
    expect(counts.nextCounted(0, 20_000)).toBe(9000);
    expect(counts.nextCounted(9002, 20_000)).toBe(20_000);
  });
});
