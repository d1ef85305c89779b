import { describe, expect, it } from "vitest";
import type { MachineSettings } from "../library/machine-record.ts";
import { applianceSettings, checkedSettings, configurationOf, settingsOf } from "./machine-settings.ts";

const WISHES = {
  configuration: { memoryMiB: 64, acpi: false },
  display: "terminal",
  offeredNetwork: { kind: "fetch" },
} as const;

describe("what a machine is set to", () => {
  it("is what the appliance asks for, with the network off whatever it offers", () => {
    expect(applianceSettings(WISHES)).toEqual({
      memoryMiB: 64,
      vgaMemoryMiB: 8,
      acpi: false,
      bootOrder: "disk",
      network: { kind: "off" },
      display: "terminal",
    });
  });

  it("is what the person chose where they chose something", () => {
    const settings = settingsOf(WISHES, { memoryMiB: 256, network: { kind: "fetch" } });
    expect(settings).toMatchObject({ memoryMiB: 256, acpi: false, network: { kind: "fetch" } });
    expect(configurationOf(settings)).toEqual({
      memoryMiB: 256,
      vgaMemoryMiB: 8,
      acpi: false,
      bootOrder: "disk",
    });
  });

  it("has screen and terminal shown where nobody says otherwise", () => {
    expect(applianceSettings({ configuration: {} }).display).toBe("both");
  });
});

describe("what is chosen", () => {
  it("is kept without what was left open, or has no meaning", () => {
    const chosen = { memoryMiB: 32, acpi: undefined, colour: "red" } as unknown as MachineSettings;
    expect(checkedSettings(chosen)).toEqual({ memoryMiB: 32 });
  });

  it("keeps a relay by its tidied address", () => {
    const network = { kind: "relay", url: "WSS://relay.example.org" } as const;
    expect(checkedSettings({ network }).network).toEqual({ kind: "relay", url: "wss://relay.example.org/" });
  });

  it.each([
    ["memoryMiB", 8],
    ["memoryMiB", 4096],
    ["memoryMiB", 64.5],
    ["memoryMiB", "64"],
    ["vgaMemoryMiB", 0],
    ["vgaMemoryMiB", 512],
    ["acpi", "on"],
    ["bootOrder", "__proto__"],
    ["display", "hologram"],
    ["network", { kind: "relay", url: "https://relay.example.org/" }],
    ["network", { kind: "relay", url: "wss://me:secret@relay.example.org/" }],
  ])("is refused where %s cannot be %s", (name, value) => {
    const chosen = { [name]: value } as unknown as MachineSettings;
    expect(() => checkedSettings(chosen)).toThrow(expect.objectContaining({ code: "INVALID_ARGUMENT" }));
  });
});
