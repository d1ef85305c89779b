import { expect, it } from "vitest";
import { fileNameOf, lastPart, plainName } from "./file-names.ts";

it.each([
  ["https://example.org/a/linux.qcow2?key=1", "linux.qcow2"],
  ["https://example.org/a/my%20disk.qcow2", "my disk.qcow2"],
  ["https://example.org/a/%zz", "%zz"],
  ["https://example.org/", "image"],
])("takes the file name of %s", (url, name) => {
  expect(fileNameOf(url)).toBe(name);
});

it.each([
  ["/srv/images/base.qcow2", "base.qcow2"],
  ["C:\\images\\base.qcow2", "base.qcow2"],
  ["base.qcow2", "base.qcow2"],
])("takes the last part of %s", (path, name) => {
  expect(lastPart(path)).toBe(name);
});

it.each([
  ["linux.qcow2", "linux.qcow2"],
  ['json:{"driver":"nbd","host":"a"}', "json___driver___nbd___host___a__"],
  ["nbd:localhost:10809", "nbd_localhost_10809"],
  ["../../etc/passwd", "passwd"],
  ["-o", "_o"],
  ["x".repeat(5000), "x".repeat(200)],
  ["", "image"],
])("makes %s a name of a file only", (name, plain) => {
  expect(plainName(name)).toBe(plain);
});
