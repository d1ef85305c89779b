import { expect, test } from "vitest";
import { findDebianMirrors } from "./sources.ts";

test("mirrors are found in one-line lists, past options and comments", () => {
  const list = [
    "# deb http://old.example/debian bookworm main",
    "deb [signed-by=/usr/share/keyrings/x.gpg arch=amd64] http://mirror.example/debian bookworm main",
    "deb-src http://mirror.example/debian bookworm main",
    "deb http://mirror.example/debian-security bookworm-security main",
  ].join("\n");
  expect(findDebianMirrors([list])).toEqual({
    archive: "http://mirror.example/debian",
    security: "http://mirror.example/debian-security",
  });
});

test("mirrors are found in stanzas, and other vendors' lists are passed over", () => {
  const other = "Types: deb\nURIs: https://vendor.example/node_20.x\nSuites: nodistro\nComponents: main\n";
  const debian =
    "Types: deb\n# URIs: http://no.example/debian\nURIs: http://snap.example/archive/debian/20250520T000000Z/\nSuites: bookworm\n";
  expect(findDebianMirrors([other, debian])).toEqual({
    archive: "http://snap.example/archive/debian/20250520T000000Z/",
    security: undefined,
  });
});

test("a host that is not Debian has no mirrors", () => {
  expect(findDebianMirrors(["deb http://archive.example/ubuntu noble main universe\n"])).toBeUndefined();
});
