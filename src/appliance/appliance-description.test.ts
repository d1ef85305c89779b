import { describe, expect, it } from "vitest";
import { RESERVED_KEYS } from "../../disk/index.ts";
import { describeAppliance } from "./appliance-description.ts";
import { oneLine, severalLines } from "./plain-text.ts";
import { webAddress } from "./web-address.ts";

const of = (...pairs: [string, string][]) => describeAppliance(new Map(pairs));

describe("an appliance's description", () => {
  it("has nothing in it for an image that says nothing", () => {
    expect(Object.values(of()).filter((value) => value !== undefined)).toEqual([]);
  });

  it("keeps markup as the text it is", () => {
    const script = "<script>alert(1)</script>";
    expect(of(["appliance.name", script]).name).toBe(script);
  });

  it.each([
    ["line ends and controls", "a\r\n\u0000b\u001b[31m\tc", "a b[31m c"],
    ["marks that turn the direction of writing", "\u202egpj.exe\u2066", "gpj.exe"],
    ["marks that cannot be seen", "\ufeffa\u200bb\u00ad\u{e0041}", "ab"],
    ["nothing but space", " \u2028 ", ""],
  ])("is cleaned of %s in a line", (_, text, line) => {
    expect(oneLine(text, 80)).toBe(line);
  });

  it("keeps the joiners of emoji and scripts", () => {
    expect(oneLine("👩‍💻 می‌خواهم", 80)).toBe("👩‍💻 می‌خواهم");
  });

  it("cuts a line that is too long between characters", () => {
    expect(oneLine("🙂".repeat(100), 10)).toBe(`${"🙂".repeat(9)}…`);
  });

  it("is bounded however long the values are", () => {
    const long = "x".repeat(1024 * 1024);
    const description = describeAppliance(new Map(Object.keys(RESERVED_KEYS).map((key) => [key, long])));
    const { message, licence, ...lines } = description;
    expect(JSON.stringify(lines).length).toBeLessThan(2000);
    // These two are read by people, whole.
    expect(licence?.text).toHaveLength(long.length);
    expect(message).toHaveLength(long.length);
  });

  it("keeps the lines of a licence, and no controls in them", () => {
    expect(severalLines("a\r\nb\rc\n\n\td\u0007\u202e ")).toBe("a\nb\nc\n\n\td");
  });

  it.each(["GPL-2.0-only", "MIT OR Apache-2.0", "(MIT AND BSD-2-Clause)", "LicenseRef-x"])(
    "takes %s for a licence's identifier",
    (identifier) => {
      expect(of(["appliance.license", identifier]).licence).toEqual({ title: identifier });
    },
  );

  it("takes anything else for the licence itself", () => {
    const text = "You may use this.\n\nYou may not sell it.";
    expect(of(["appliance.license", text]).licence).toEqual({ title: "Its own licence", text });
    expect(of(["appliance.license", text], ["appliance.license-title", "Ours"]).licence).toEqual({
      title: "Ours",
      text,
    });
  });

  it.each(["0", "-1", "1.5", "12345678", "128 MiB", ""])("takes no %j for its memory", (memory) => {
    expect(of(["machine.memory", memory]).memoryMiB).toBeUndefined();
  });

  it.each([
    "javascript:alert(1)",
    "data:text/html,x",
    "//example.org",
    "https://",
    "https://user@example.org/",
    "https://example.org\\@evil.example/",
    `https://example.org/${"a".repeat(3000)}`,
    "ftp://example.org/",
    " https://example.org /",
  ])("takes %j for no address", (address) => {
    expect(webAddress(address)).toBeUndefined();
  });
});
