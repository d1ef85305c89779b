import { rmSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { Bench } from "../testing/qemu.ts";
import { ExitError } from "./exit.ts";
import { asksForHelp, parseOptionString, parseSwitch } from "./option-string.ts";
import { parseSecrets } from "./secrets.ts";

describe("an option list", () => {
  it.each<[string, [string, string][]]>([
    ["", []],
    ["a=1", [["a", "1"]]],
    [
      "a=1,b=2",
      [
        ["a", "1"],
        ["b", "2"],
      ],
    ],
    [
      "a=x,,y,b=",
      [
        ["a", "x,y"],
        ["b", ""],
      ],
    ],
    ["a=b=c", [["a", "b=c"]]],
    [
      "lazy,nodirty",
      [
        ["lazy", "on"],
        ["dirty", "off"],
      ],
    ],
    [
      "a=1,a=2",
      [
        ["a", "1"],
        ["a", "2"],
      ],
    ],
  ])("of %o is read as QEMU reads it", (text, pairs) => {
    expect(parseOptionString(text)).toEqual(pairs);
  });

  it("asks for help with help or ?", () => {
    expect(["help", "?", "a=1,help", "a=help", "helpful=1"].map(asksForHelp)).toEqual([
      true,
      true,
      true,
      false,
      false,
    ]);
  });

  it("has switches that are on or off", () => {
    expect(["on", "yes", "true", "off", "no", "false"].map((value) => parseSwitch("a", value))).toEqual([
      true,
      true,
      true,
      false,
      false,
      false,
    ]);
    expect(() => parseSwitch("a", "maybe", "disk.qcow2")).toThrow(
      "disk.qcow2: Parameter 'a' expects 'on' or 'off'",
    );
  });
});

describe("--object", () => {
  const text = (secrets: ReturnType<typeof parseSecrets>, id: string) =>
    new TextDecoder().decode(secrets.get(id));

  it("gives a password as text, from a file, or in base64", () => {
    const bench = new Bench();
    const path = bench.put("password", new TextEncoder().encode("from a file\n"));
    const secrets = parseSecrets([
      "secret,id=a,data=pass,,word",
      `secret,id=b,file=${path}`,
      "secret,id=c,data=cGFzcw==,format=base64",
      "qom-type=secret,id=d,data=x",
    ]);
    rmSync(bench.directory, { recursive: true });
    expect(["a", "b", "c", "d"].map((id) => text(secrets, id))).toEqual([
      "pass,word",
      "from a file\n",
      "pass",
      "x",
    ]);
  });

  it.each([
    "secret,data=x",
    "secret,id=a",
    "secret,id=a,data=x,file=y",
    "secret,id=a,data=x,format=hex",
    "secret,id=a,data=x,keyid=b",
    "secret,id=a,file=/nonexistent/password",
    "tls-creds,id=a",
  ])("of %o is refused", (object) => {
    expect(() => parseSecrets([object])).toThrow(ExitError);
  });

  it("of an id twice is refused", () => {
    expect(() => parseSecrets(["secret,id=a,data=x", "secret,id=a,data=y"])).toThrow(ExitError);
  });
});
