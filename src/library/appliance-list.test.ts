import { describe, expect, it } from "vitest";
import { parseCatalog } from "./appliance-list.ts";

const ADDRESS = "https://example.org/byre/appliances/catalog.json";

describe("the catalogue", () => {
  it("is a list of addresses, each once, relative to itself or absolute", () => {
    const text = JSON.stringify(["linux.qcow2", "https://other.example/a.qcow2#x", "./linux.qcow2"]);
    expect(parseCatalog(text, ADDRESS)).toEqual({
      urls: ["https://example.org/byre/appliances/linux.qcow2", "https://other.example/a.qcow2"],
      problem: undefined,
    });
  });

  it.each([
    ["no JSON", "<!doctype html>"],
    ["no list", '{"images": []}'],
    ["endless", `["${"a".repeat(300_000)}"]`],
  ])("that is %s gives a reason and no images", (_, text) => {
    const { urls, problem } = parseCatalog(text, ADDRESS);
    expect(urls).toEqual([]);
    expect(problem).toMatch(/cannot be read/);
  });

  it("leaves out what is no address, and says how much", () => {
    const entries = [
      "a.qcow2",
      1,
      null,
      "javascript:alert(1)",
      "data:,x",
      "https://u:p@example.org/",
      "http://[",
    ];
    const { urls, problem } = parseCatalog(JSON.stringify(entries), ADDRESS);
    expect(urls).toEqual(["https://example.org/byre/appliances/a.qcow2"]);
    expect(problem).toMatch(/^6 entries/);
  });

  it("takes at most a thousand", () => {
    const entries = Array.from({ length: 1500 }, (_, index) => `${index}`);
    const { urls, problem } = parseCatalog(JSON.stringify(entries), ADDRESS);
    expect(urls).toHaveLength(1000);
    expect(problem).toMatch(/^500 entries/);
  });
});
