import { describe, expect, it } from "vitest";
import { COMMANDS } from "./commands.ts";
import { byre } from "./testing/twins.ts";

describe("byre", () => {
  it.each(Object.keys(COMMANDS))("%s --help has a summary, exit codes and examples", async (name) => {
    for (const words of [
      [name, "--help"],
      [name, "-h"],
      ["help", name],
    ]) {
      const { code, out, err } = await byre(...words);
      expect(code).toBe(0);
      expect(err).toBe("");
      expect(out).toMatch(new RegExp(`^Usage: byre ${name} `));
      expect(out).toMatch(/^Exit codes:\n {2}0 {4}\S/m);
      expect(out).toMatch(new RegExp(`^Examples:\n {2}byre ${name} `, "m"));
    }
  });

  it("--help lists every command, in order", async () => {
    for (const words of [["--help"], ["-h"], ["help"]]) {
      const { code, out } = await byre(...words);
      expect(code).toBe(0);
      const listed = [...out.matchAll(/^ {2}([a-z]+) {2,}\S/gm)].map((match) => match[1]);
      expect(listed).toEqual(Object.keys(COMMANDS).sort());
    }
  });

  it.each([
    ["no command", [], /which command/],
    ["an unknown command", ["frobnicate"], /no command 'frobnicate'/],
    ["a word every object has", ["constructor"], /no command 'constructor'/],
    ["an unknown option", ["--frobnicate"], /unknown option '--frobnicate'/],
    ["an unknown option of a command", ["info", "--frobnicate", "x"], /unknown option '--frobnicate'/],
    [
      "a cut option that could be two",
      ["rebase", "--backing-f", "raw", "-u", "--ba", "x", "y"],
      /unknown option '--ba'/,
    ],
    ["an option without its value", ["info", "-f"], /argument missing/],
  ])("fails with 1 and says why on %s", async (_, words, message) => {
    const { code, out, err } = await byre(...words);
    expect(code).toBe(1);
    expect(out).toBe("");
    expect(err).toMatch(/^byre: /);
    expect(err).toMatch(message);
  });
});
