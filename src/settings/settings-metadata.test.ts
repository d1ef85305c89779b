import { expect, it } from "vitest";
import { applianceConfiguration } from "../../emulator/index.ts";
import { withSettings } from "./settings-metadata.ts";

it("says of an image what was set, and leaves the rest and the network as it was", () => {
  const said = new Map([
    ["appliance.name", "Notes"],
    ["machine.memory", "32"],
    ["machine.network", "fetch"],
  ]);
  const next = withSettings(said, {
    memoryMiB: 64,
    vgaMemoryMiB: 16,
    acpi: false,
    bootOrder: "cdrom",
    display: "terminal",
    network: { kind: "relay", url: "wss://relay.example.org/" },
  });
  expect(next.get("appliance.name")).toBe("Notes");
  expect(applianceConfiguration(next)).toEqual({
    configuration: { memoryMiB: 64, vgaMemoryMiB: 16, acpi: false, bootOrder: "cdrom" },
    display: "terminal",
    network: { kind: "fetch" },
    notes: [],
  });
  expect(said.get("machine.memory")).toBe("32");
});
