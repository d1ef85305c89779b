import { expect, it } from "vitest";
import type { MachineRecord } from "../library/machine-record.ts";
import { storageReport } from "./storage-report.ts";

const BASE = {
  name: "disk.img",
  source: { kind: "import", fileId: "base", lastModifiedMs: 1 },
  identity: { sizeBytes: 100 },
} as const;

function machine(name: string, createdAt: number, change: Partial<MachineRecord> = {}): MachineRecord {
  return {
    id: name,
    name,
    createdAt,
    lastUsedAt: createdAt,
    base: BASE,
    behindBase: [],
    overlayFileId: `overlay of ${name}`,
    configuration: {},
    ...change,
  };
}

function file(fileId: string, storedBytes: number, importOf?: { sizeBytes: number }) {
  return {
    fileId,
    name: fileId,
    sizeBytes: storedBytes,
    storedBytes,
    importOf: importOf && { ...importOf, name: "disk.img", lastModifiedMs: 1 },
  };
}

it("counts a shared file once, for the machine made first, and names who shares it", () => {
  const files = [file("base", 50), file("overlay of a", 3), file("overlay of b", 7), file("lost", 9)];
  const report = storageReport([machine("b", 2), machine("a", 1)], files);
  expect(report.storedBytes).toBe(69);
  expect(report.leftovers.map(({ fileId }) => fileId)).toEqual(["lost"]);
  expect(report.machines.map(({ record, storedBytes }) => [record.name, storedBytes])).toEqual([
    ["a", 53],
    ["b", 7],
  ]);
  expect(report.machines[1]?.files).toMatchObject([
    { what: "What it wrote, and its snapshots", storedBytes: 7, countsElsewhere: false, sharedWith: [] },
    { what: "Copy of disk.img", storedBytes: 50, countsElsewhere: true, sharedWith: ["a"] },
  ]);
});

it("tells of a copy that is not whole how far it is", () => {
  const [found] = storageReport([machine("a", 1)], [file("base", 40, { sizeBytes: 100 })]).machines;
  expect(found?.files).toMatchObject([
    { what: "Copy of disk.img", import: { copiedBytes: 40, totalBytes: 100 } },
  ]);
});

it("tells what is written to a second disk, and what is in a drive", () => {
  const cdrom = { ...BASE, name: "tools.iso", source: { kind: "import", fileId: "cd" } } as const;
  const hdb = { base: BASE, behindBase: [], overlayFileId: "second" };
  const url = { ...BASE, source: { kind: "url", url: "https://example.org/a.qcow2" } } as const;
  const files = [file("second", 5), file("cd", 6), file("base", 7), file("overlay of a", 8)];
  const [found] = storageReport([machine("a", 1, { base: url, drives: { hdb, cdrom } })], files).machines;
  expect(found?.files.map(({ what, storedBytes }) => [what, storedBytes])).toEqual([
    ["What it wrote, and its snapshots", 8],
    ["What it wrote to its second disk", 5],
    ["Copy of disk.img", 7],
    ["Copy of tools.iso", 6],
  ]);
});
