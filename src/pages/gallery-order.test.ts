import { describe, expect, it } from "vitest";
import type { ApplianceListing } from "../library/use-appliances.ts";
import type { MachineListing } from "../library/use-machines.ts";
import { applianceName, appliancesToShow, machinesToShow } from "./gallery-order.ts";

const appliance = (file: string, name?: string, fileBytes = 1, summary?: string): ApplianceListing => ({
  url: `https://example.org/${file}`,
  facts: {
    state: "present",
    name,
    summary,
    vendor: undefined,
    icon: undefined,
    fileBytes,
    diskBytes: 1,
    startsAtOnce: false,
    problem: undefined,
  },
});

const machine = (name: string, lastUsedAt: number, storedBytes: number): MachineListing => ({
  record: {
    id: name,
    name,
    createdAt: 0,
    lastUsedAt,
    base: {
      name: `${name}.qcow2`,
      source: { kind: "import", fileId: "f" },
      identity: { sizeBytes: 1 },
    },
    behindBase: [],
    overlayFileId: "o",
    configuration: {},
  },
  storedBytes,
  needsFile: false,
});

describe("the gallery's order", () => {
  const machines = [machine("disk 10", 1, 5), machine("Disk 2", 3, 9), machine("alpha", 2, 1)];
  const names = (list: MachineListing[]) => list.map(({ record }) => record.name);

  it("has machines by last use, name or size", () => {
    expect(names(machinesToShow(machines, "", "used"))).toEqual(["Disk 2", "alpha", "disk 10"]);
    expect(names(machinesToShow(machines, "", "name"))).toEqual(["alpha", "Disk 2", "disk 10"]);
    expect(names(machinesToShow(machines, "", "size"))).toEqual(["Disk 2", "disk 10", "alpha"]);
  });

  it("has appliances as listed, by name or size, those not looked at last", () => {
    const list = [
      { url: "https://example.org/x.qcow2", facts: undefined },
      appliance("b.qcow2", "Beta", 5),
      appliance("a.qcow2", "Älpha", 9),
    ];
    const shown = (order: "used" | "name" | "size") => appliancesToShow(list, "", order).map(applianceName);
    expect(shown("used")).toEqual(["x", "Beta", "Älpha"]);
    expect(shown("name")).toEqual(["Älpha", "Beta", "x"]);
    expect(shown("size")).toEqual(["Älpha", "Beta", "x"]);
  });

  it("finds every word wherever it stands, without capitals and accents", () => {
    const list = [appliance("a.qcow2", "Café Linux", 1, "With an editor"), appliance("b.qcow2", "FreeDOS")];
    const find = (search: string) => appliancesToShow(list, search, "used").map(applianceName);
    expect(find("EDITOR cafe")).toEqual(["Café Linux"]);
    expect(find("b.qcow")).toEqual(["FreeDOS"]);
    expect(find("cafe dos")).toEqual([]);
    expect(find("  ")).toHaveLength(2);
    expect(names(machinesToShow(machines, "disk", "name"))).toEqual(["Disk 2", "disk 10"]);
  });
});
