import { expect, test } from "vitest";
import { WriteStage } from "../block-file.ts";
import { SECTOR_BYTES, StagedSectors } from "./staged-sectors.ts";

function filled(value: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array(SECTOR_BYTES).fill(value);
}

test("gathers neighbours into one write, in the order of their places", () => {
  const sectors = new StagedSectors();
  for (const index of [7, 5, 6, 9]) sectors.set(index, filled(index), WriteStage.DATA);
  const runs = sectors.groups().flat();
  expect(runs.map(({ offsetBytes, bytes }) => [offsetBytes, bytes.length])).toEqual([
    [5 * SECTOR_BYTES, 3 * SECTOR_BYTES],
    [9 * SECTOR_BYTES, SECTOR_BYTES],
  ]);
  expect(runs[0]?.bytes[2 * SECTOR_BYTES]).toBe(7);
});

test("writes a sector of several stages at the latest of them, as it was last", () => {
  const sectors = new StagedSectors();
  sectors.set(0, filled(1), WriteStage.HEADER);
  sectors.set(0, filled(2), WriteStage.DATA);
  sectors.set(1, filled(3), WriteStage.L2);
  const [l2, header] = sectors.groups();
  expect(l2?.map(({ offsetBytes }) => offsetBytes)).toEqual([SECTOR_BYTES]);
  expect(header?.map(({ bytes }) => bytes[0])).toEqual([2]);
});

test("puts back what failed to be written under what came since", () => {
  const older = new StagedSectors();
  for (const index of [0, 1, 2]) older.set(index, filled(1), WriteStage.L1);
  const newer = new StagedSectors();
  newer.set(0, filled(2), WriteStage.DATA);
  newer.addOlder(older, 2);
  expect([0, 1, 2].map((index) => newer.get(index)?.[0])).toEqual([2, 1, undefined]);
  expect(newer.stageOf(0)).toBe(WriteStage.L1);
});
