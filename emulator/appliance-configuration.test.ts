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

  it.each([
    ["machine.memory", "lots"],
    ["machine.memory", "9999999"],
    ["machine.memory", "-1"],
    ["machine.vga-memory", "4096"],
    ["machine.acpi", "maybe"],
    ["machine.boot", "network"],
    ["machine.boot", "__proto__"],
    ["machine.memory", "1".repeat(100_000)],
  ])("passes over %s=%s, and says so in a line", (key, value) => {
    const { configuration, notes } = of([key, value], ["machine.acpi", value === "maybe" ? value : "on"]);
    expect(configuration).toEqual(value === "maybe" ? {} : { acpi: true });
    expect(notes).toHaveLength(1);
    expect(notes[0]).toContain(key);
    expect(notes[0]?.length).toBeLessThan(200);
  });
});
