import { expect, it } from "vitest";
import { proposedName, shownName } from "./snapshot-names.ts";

it("proposes the first number that is free", () => {
  expect(proposedName([])).toBe("Snapshot 1");
  expect(proposedName(["Snapshot 1", "before", "Snapshot 3"])).toBe("Snapshot 2");
});

it.each([
  ["ready", "ready"],
  ["  two\nlines\u202e ", "two lines"],
  ["", "Snapshot 7"],
  ["\u0000\u200b", "Snapshot 7"],
])("shows the name %j as %j", (name, shown) => {
  expect(shownName({ id: "7", name })).toBe(shown);
});
