import { expect, it } from "vitest";
import { createMemoryFile, createQcow2, openQcow2 } from "../../disk/index.ts";
import { lookForStart } from "../open/base-start.ts";
import { stateNames, statesAmong } from "./image-states.ts";

/** Snapshots with ids from 1 on; those in brackets have no state. */
function snapshots(...names: string[]) {
  return names.map((name, index) => ({
    id: String(index + 1),
    name: name.replace(/^\((.*)\)$/, "$1"),
    stateBytes: name.startsWith("(") ? 0 : 1,
  }));
}

it.each([
  [
    ["one", "two"],
    ["one", "two"],
  ],
  // An id goes before a name.
  [
    ["2", "1"],
    ["1", "2"],
  ],
  [
    ["3", "x", "y"],
    ["1", "x", "y"],
  ],
  [
    ["1", "x"],
    ["1", "x"],
  ],
  // Of one name the newest is meant.
  [
    ["same", "same"],
    ["1", "same"],
  ],
  [["same", "(same)"], ["1"]],
  [["(same)", "same"], ["same"]],
  [["", "(x)"], ["1"]],
])("calls each of the states %j in a link what starts that one", (names, expected) => {
  expect(statesAmong(snapshots(...names)).all.map(({ inLink }) => inLink)).toEqual(expected);
});

it("calls states what a machine's start takes for them", async () => {
  const file = createMemoryFile({ name: "base.qcow2" });
  await createQcow2(file, { sizeBytes: 1024 * 1024 });
  const device = await openQcow2(file, { writable: true });
  for (const name of ["2", "1", "same", "same"]) await device.createSnapshot({ name });
  await device.flush();
  const { all } = statesAmong(device.snapshots.map(({ id, name }) => ({ id, name, stateBytes: 1 })));
  const started = await Promise.all(
    all.map(async ({ inLink }) => (await lookForStart(file, { snapshot: inLink })).snapshot?.id),
  );
  expect(started).toEqual(["1", "2", "3", "4"]);
});

it("knows the state that a machine was made from, and the image's own", () => {
  const { all, find, own } = statesAmong(snapshots("same", "same", "(disk)"), "same");
  expect(find("1")).toBe(all[0]);
  expect(find("same")).toBe(all[1]);
  expect(own).toBe(all[1]);
  expect(find("disk")).toBeUndefined();
  expect(find("none")).toBeUndefined();
});

it("remembers of a file only the states that their names start", () => {
  expect(stateNames(snapshots("2", "1", "same", "same"))).toEqual(["same"]);
});
