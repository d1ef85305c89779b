import { expect, it } from "vitest";
import { nameAtSnapshot, parseNameAtSnapshot } from "./snapshot-file-name.ts";

it.each([
  ["linux.qcow2", "1", "linux@1.qcow2"],
  ["a.b.qcow2", "12", "a.b@12.qcow2"],
  ["disk", "3", "disk@3"],
  ["linux@1.qcow2", "2", "linux@1@2.qcow2"],
])("calls %s at snapshot %s %s, and reads that back", (fileName, snapshot, name) => {
  expect(nameAtSnapshot(fileName, snapshot)).toBe(name);
  expect(parseNameAtSnapshot(name)).toEqual({ fileName, snapshot });
});

it.each(["linux.qcow2", "@1.qcow2", "me@home.qcow2", "linux@.qcow2"])("takes %s for a plain name", (name) => {
  expect(parseNameAtSnapshot(name)).toBeUndefined();
});
