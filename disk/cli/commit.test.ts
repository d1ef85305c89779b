import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { hasQemu } from "../testing/qemu.ts";
import { Twins } from "./testing/twins.ts";

describe.skipIf(!hasQemu)("byre commit, as qemu-img commit", () => {
  let twins: Twins;
  const make = (...words: string[]) => twins.make("qemu-img", "create", "-f", "qcow2", ...words);
  const write = (name: string, ...commands: string[]) =>
    twins.make("qemu-io", ...commands.flatMap((command) => ["-c", command]), `@/${name}`);
  let template: Twins;
  beforeAll(() => {
    template = new Twins();
    twins = template;
    make("@/base.qcow2", "10M");
    write("base.qcow2", "write -P 1 0 2M");
    make("-b", "base.qcow2", "-F", "qcow2", "@/middle.qcow2");
    write("middle.qcow2", "write -P 2 1M 1M", "write -P 2 5M 70k", "write -z 0 128k");
    make("-b", "middle.qcow2", "-F", "qcow2", "@/top.qcow2");
    write("top.qcow2", "write -P 3 1500k 10k", "write -P 3 9M 1M");
    twins.put("base.raw", new Uint8Array(1024 * 1024).fill(1));
    make("-b", "base.raw", "-F", "raw", "@/over-raw.qcow2");
    write("over-raw.qcow2", "write -P 4 100k 100k", "write -z 512k 64k");
  }, 90_000);
  afterAll(() => template.close());
  beforeEach(() => {
    twins = template.copy();
  });
  afterEach(() => twins.close());

  const expectMap = async (name: string) => {
    const where = (text: string) =>
      (JSON.parse(text) as { start: number; length: number; depth: number }[]).map(
        ({ start, length, depth }) => ({ start, length, depth }),
      );
    const theirs = twins.qemu("qemu-img", "map", "--output=json", `@/${name}`);
    const ours = await twins.byre("map", "--output=json", `@/${name}`);
    expect(where(ours.out)).toEqual(where(theirs.out));
  };

  it.each([
    ["into the nearest and empties", ["@/top.qcow2"], ["top.qcow2", "middle.qcow2", "base.qcow2"]],
    ["into the nearest and does not empty", ["-d", "@/top.qcow2"], ["top.qcow2", "middle.qcow2"]],
    [
      "into one further down",
      ["-b", "base.qcow2", "@/top.qcow2"],
      ["top.qcow2", "middle.qcow2", "base.qcow2"],
    ],
    ["into one named by its path", ["-b", "@/base.qcow2", "@/top.qcow2"], ["top.qcow2", "base.qcow2"]],
    ["quietly", ["-q", "-t", "none", "-r", "100M", "@/middle.qcow2"], ["middle.qcow2", "base.qcow2"]],
    ["into a raw file", ["@/over-raw.qcow2"], ["over-raw.qcow2", "base.raw"]],
  ])("commits %s", async (_, words, names) => {
    await twins.expectSame(["commit", ...words]);
    for (const name of names) twins.expectAlike(name);
    // Into a raw file QEMU punches holes where there are zeros, which Node cannot.
    for (const name of names.filter((each) => each.endsWith(".qcow2") && !names.includes("base.raw")))
      await expectMap(name);
  });

  it("makes a shorter base longer, and leaves a longer one", async () => {
    make("-b", "base.qcow2", "-F", "qcow2", "@/longer.qcow2", "20M");
    write("longer.qcow2", "write -P 5 15M 64k");
    await twins.expectSame(["commit", "@/longer.qcow2"]);
    twins.expectAlike("base.qcow2");
    make("-b", "base.raw", "-F", "raw", "@/longer-raw.qcow2", "3M");
    write("longer-raw.qcow2", "write -P 5 2M 64k");
    await twins.expectSame(["commit", "@/longer-raw.qcow2"]);
    twins.expectAlike("base.raw");
    make("-b", "base.qcow2", "-F", "qcow2", "@/shorter.qcow2", "1M");
    write("shorter.qcow2", "write -P 6 0 64k");
    await twins.expectSame(["commit", "@/shorter.qcow2"]);
    twins.expectAlike("base.qcow2");
  });

  it("commits an image with snapshots, which stay", async () => {
    twins.make("qemu-img", "snapshot", "-c", "kept", "@/middle.qcow2");
    write("middle.qcow2", "write -P 7 3M 64k");
    await twins.expectSame(["commit", "@/middle.qcow2"]);
    twins.expectAlike("middle.qcow2");
    twins.expectAlike("base.qcow2");
  });

  it.each([
    ["an image with nothing behind it", ["@/base.qcow2"]],
    ["a raw image", ["-f", "raw", "@/base.raw"]],
    ["a base that is not in the chain", ["-b", "other.qcow2", "@/top.qcow2"]],
    ["itself as the base", ["-b", "top.qcow2", "@/top.qcow2"]],
    ["an unknown cache mode", ["-t", "fast", "@/top.qcow2"]],
    ["no image", []],
    ["two images", ["@/top.qcow2", "@/middle.qcow2"]],
    ["a missing image", ["@/missing"]],
  ])("refuses %s", async (_, words) => {
    const contents = () => twins.digest("top.qcow2", "base.qcow2");
    const before = contents();
    await twins.expectSame(["commit", ...words]);
    expect(contents()).toBe(before);
  });

  it("refuses a chain that is broken", async () => {
    make("-u", "-b", "missing", "-F", "raw", "@/orphan.qcow2", "1M");
    await twins.expectSame(["commit", "@/orphan.qcow2"]);
  });
});
