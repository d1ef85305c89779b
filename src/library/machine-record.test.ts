import { describe, expect, it } from "vitest";
import {
  MAX_NAME_LENGTH,
  machineName,
  nameForMachine,
  newId,
  ownersOf,
  ownFileIds,
} from "./machine-record.ts";

describe("machineName", () => {
  it("keeps one line of plain text", () => {
    expect(machineName("  My\n\tmachine\u202e \u0007x ")).toBe("My machine x");
  });

  it("cuts between characters, not inside one", () => {
    expect(machineName("🐄".repeat(200))).toBe("🐄".repeat(MAX_NAME_LENGTH));
  });
});

describe("nameForMachine", () => {
  it("takes the file's name without its ending", () => {
    expect(nameForMachine("linux.qcow2", [])).toBe("linux");
    expect(nameForMachine("notes.v1.txt", [])).toBe("notes.v1.txt");
  });

  it("counts on from names that are taken", () => {
    expect(nameForMachine("linux.qcow2", ["linux", "linux 2"])).toBe("linux 3");
  });

  it("finds a name where the file has none", () => {
    expect(nameForMachine("\u0000.qcow2", [])).toBe("Machine");
  });
});

it("counts imported files as a machine's own, and remote ones not", () => {
  const identity = { sizeBytes: 1 };
  const record = {
    id: "m",
    name: "m",
    createdAt: 0,
    lastUsedAt: 0,
    base: { name: "a", source: { kind: "import", fileId: "imported" }, identity },
    behindBase: [{ name: "b", source: { kind: "url", url: "https://example.org/b" }, identity }],
    overlayFileId: "overlay",
    configuration: {},
  } as const;
  expect(ownFileIds(record)).toEqual(["overlay", "imported"]);
});

it("counts a CD that a machine boots from once", () => {
  const cdrom = {
    name: "a.iso",
    source: { kind: "import", fileId: "cd" },
    identity: { sizeBytes: 1 },
  } as const;
  const record = {
    id: "m",
    name: "m",
    createdAt: 0,
    lastUsedAt: 0,
    base: cdrom,
    behindBase: [],
    overlayFileId: "overlay",
    bootsFrom: "cdrom",
    drives: { cdrom },
    configuration: {},
  } as const;
  expect(ownFileIds(record)).toEqual(["overlay", "cd"]);
});

it("counts a base that two machines share for the one made first", () => {
  const identity = { sizeBytes: 1 };
  const machine = (id: string, createdAt: number) => ({
    id,
    name: id,
    createdAt,
    lastUsedAt: 0,
    base: { name: "a", source: { kind: "import", fileId: "imported" }, identity } as const,
    behindBase: [],
    overlayFileId: `overlay of ${id}`,
    configuration: {},
  });
  expect([...ownersOf([machine("later", 2), machine("first", 1)])]).toEqual([
    ["overlay of first", "first"],
    ["imported", "first"],
    ["overlay of later", "later"],
  ]);
});

it("makes ids that fit an address", () => {
  expect(newId()).toMatch(/^[0-9a-f]{24}$/);
  expect(newId()).not.toBe(newId());
});
