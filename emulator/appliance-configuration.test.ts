import { describe, expect, it } from "vitest";
import { applianceConfiguration } from "./appliance-configuration.ts";

const of = (...pairs: [string, string][]) => applianceConfiguration(new Map(pairs));

describe("the machine that an image asks for", () => {
  it("is nothing in particular when it asks for nothing", () => {
    expect(of(["appliance.name", "x"])).toEqual({ configuration: {}, notes: [] });
  });

  it("is what its keys say", () => {
    expect(
      of(
        ["machine.memory", "64"],
        ["machine.vga-memory", "16"],
        ["machine.acpi", "off"],
        ["machine.boot", "cdrom"],
      ),
    ).toEqual({
      configuration: { memoryMiB: 64, vgaMemoryMiB: 16, acpi: false, bootOrder: "cdrom" },
      notes: [],
    });
  });

  it("has the display and the network that its keys name", () => {
    expect(of(["machine.display", "terminal"], ["machine.network", "wisps://relay.example.org/"])).toEqual({
      configuration: {},
      notes: [],
      display: "terminal",
      network: { kind: "relay", url: "wisps://relay.example.org/" },
    });
    expect(of(["machine.network", "fetch"]).network).toEqual({ kind: "fetch" });
  });

  it.each([
    ["machine.display", "hologram"],
    ["machine.display", "both\n"],
    ["machine.network", "on"],
    ["machine.network", "javascript:alert(1)"],
    ["machine.network", "data:text/html,x"],
    ["machine.network", "https://relay.example.org/"],
    ["machine.network", "wss://"],
    ["machine.network", "wss://me:secret@relay.example.org/"],
    ["machine.network", "wss://relay.example.org/ wss://other.example.org/"],
    ["machine.network", `wss://relay.example.org/${"x".repeat(600)}`],
    ["machine.memory", "lots"],
    ["machine.memory", "9999999"],
    ["machine.memory", "-1"],
    ["machine.vga-memory", "4096"],
    ["machine.acpi", "maybe"],
    ["machine.boot", "network"],
    ["machine.boot", "__proto__"],
    ["machine.memory", "1".repeat(100_000)],
  ])("passes over %s=%s, and says so in a line", (key, value) => {
    const { configuration, notes, display, network } = of(
      [key, value],
      ["machine.acpi", value === "maybe" ? value : "on"],
    );
    expect(configuration).toEqual(value === "maybe" ? {} : { acpi: true });
    expect([display, network]).toEqual([undefined, undefined]);
    expect(notes).toHaveLength(1);
    expect(notes[0]).toContain(key);
    expect(notes[0]?.length).toBeLessThan(200);
  });
});
