import { expect, test } from "vitest";
import { parsePackage } from "./apt.ts";

test("the newest of the versions that apt-cache shows is read", () => {
  const shown = [
    "Package: linux-image-686\nSource: linux\nVersion: 6.1.176-1\nArchitecture: i386\nDepends: linux-image-6.1.0-50-686 (= 6.1.176-1)\nSize: 1476",
    "Package: linux-image-686\nVersion: 6.1.1-1\nArchitecture: i386",
  ].join("\n\n");
  expect(parsePackage(shown, "linux-image-686")).toEqual({
    name: "linux-image-686",
    version: "6.1.176-1",
    architecture: "i386",
    depends: "linux-image-6.1.0-50-686 (= 6.1.176-1)",
    sizeBytes: 1476,
  });
});

test("a description without a version is refused", () => {
  expect(() => parsePackage("Package: x\n", "x")).toThrow("description of x lacks");
});
