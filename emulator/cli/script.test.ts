import { expect, test } from "vitest";
import { parseScript } from "./script.ts";

const parse = (text: string) => parseScript(text, "a.script");

test("a script is a step a line, with comments and empty lines", () => {
  expect(
    parse(
      '# a comment\n\nwait "login: " 5\n  send "root\\n" # and one behind\r\nwait off 0.5\nwait "#"\nleave',
    ),
  ).toEqual([
    { do: "wait", text: "login: ", seconds: 5, line: 3 },
    { do: "send", text: "root\n", line: 4 },
    { do: "wait-off", seconds: 0.5, line: 5 },
    { do: "wait", text: "#", seconds: 60, line: 6 },
    { do: "leave", line: 7 },
  ]);
});

test("a script waits for as long as --time-limit may be", () => {
  expect(parse("wait off 2000000")).toEqual([{ do: "wait-off", seconds: 2_000_000, line: 1 }]);
});

test("texts have the usual escapes", () => {
  expect(parse(String.raw`send "\r\t\e[A\"\\\x03\x7F"`)).toEqual([
    { do: "send", text: '\r\t\x1b[A"\\\x03\x7f', line: 1 },
  ]);
});

test.each([
  ['send "x" 5', "no step"],
  ['wait "x', "no step"],
  ['wait "x" soon', "soon is no number of seconds"],
  ['wait "x" -1', "-1 is no number of seconds"],
  ['wait "x" 2000000.1', "2000000.1 is no number of seconds of at most 2000000"],
  ["wait off 3000000", "no number of seconds of at most 2000000"],
  ['wait ""', "no text to wait for"],
  [String.raw`send "\q"`, String.raw`\q means nothing`],
  ["leave off", "no step"],
  ["type it", "no step"],
  ["sleep 5", "no step"],
])("%s is refused, with its line", (line, message) => {
  expect(() => parse(`send "a"\n${line}`)).toThrow(`a.script:2: `);
  expect(() => parse(line)).toThrow(message);
});
