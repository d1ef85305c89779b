import { expect, test } from "vitest";
import { busyboxApplets } from "./busybox-applets.ts";

const program = (names: readonly string[]) => Buffer.from(`code\0${names.join("\0")}\0\0more`, "latin1");

test("the commands are those of the program's table, but the ones that are no command for a running system", () => {
  const names = ["[", "[[", "busybox", "init", "insmod", "mount", "nuke", "sh", "switch_root"];
  expect(busyboxApplets(program(names))).toEqual(["[", "[[", "init", "insmod", "mount", "sh", "switch_root"]);
});

test("a busybox without what the appliance needs is refused", () => {
  expect(() => busyboxApplets(program(["[", "[[", "sh"]))).toThrow("lacks the command init");
  expect(() => busyboxApplets(Buffer.from("code"))).toThrow("no table");
});
