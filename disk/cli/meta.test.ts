import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { METADATA_MAGIC } from "../appliance/metadata.ts";
import { hasQemu } from "../testing/qemu.ts";
import { randomBytes } from "../testing/random-bytes.ts";
import { qemu, Twins } from "./testing/twins.ts";

describe.skipIf(!hasQemu)("byre meta", () => {
  let twins: Twins;
  let template: Twins;
  beforeAll(() => {
    template = new Twins();
    twins = template;
    twins.make("qemu-img", "create", "-f", "qcow2", "@/disk.qcow2", "10M");
  }, 90_000);
  afterAll(() => template.close());
  beforeEach(() => {
    twins = template.copy();
  });
  afterEach(() => twins.close());

  const meta = (...words: string[]) => twins.byre("meta", ...words);
  const succeed = async (...words: string[]) => {
    const ended = await meta(...words);
    expect(ended.err).toBe("");
    expect(ended.code).toBe(0);
    return ended.out;
  };
  const bytes = () => readFileSync(join(twins.byreFolder, "disk.qcow2"));

  it("sets, gets, lists and removes", async () => {
    expect(await succeed("list", "@/disk.qcow2")).toBe("");
    await succeed("set", "@/disk.qcow2", "appliance.name=Tiny Linux", "machine.memory=128", "my.key=a=b");
    expect(await succeed("get", "@/disk.qcow2", "appliance.name")).toBe("Tiny Linux\n");
    await succeed("set", "@/disk.qcow2", "machine.memory=256");
    expect(await succeed("list", "@/disk.qcow2")).toBe(
      "appliance.name=Tiny Linux\nmachine.memory=256\nmy.key=a=b\n",
    );
    await succeed("unset", "@/disk.qcow2", "my.key", "machine.memory");
    expect(await succeed("list", "@/disk.qcow2")).toBe("appliance.name=Tiny Linux\n");
    await succeed("unset", "@/disk.qcow2", "appliance.name");
    expect(bytes().includes("META")).toBe(false);
    expect(qemu("qemu-img", ["check", join(twins.byreFolder, "disk.qcow2")]).code).toBe(0);
  });

  it("lives through everything that QEMU does to an image", async () => {
    await succeed("set", "@/disk.qcow2", "appliance.name=Tiny Linux");
    const path = join(twins.byreFolder, "disk.qcow2");
    for (const words of [
      ["snapshot", "-c", "x", path],
      ["snapshot", "-a", "x", path],
      ["resize", path, "+1M"],
      ["check", "-r", "all", path],
      ["amend", "-o", "lazy_refcounts=on", path],
      ["rebase", "-u", "-b", "base.qcow2", "-F", "qcow2", path],
      ["rebase", "-u", "-b", "", path],
    ])
      expect(qemu("qemu-img", words)).toMatchObject({ code: 0, err: "" });
    expect(qemu("qemu-io", ["-c", "write 0 1M", path]).code).toBe(0);
    expect(await succeed("list", "@/disk.qcow2")).toBe("appliance.name=Tiny Linux\n");
  });

  it("carries all of it through JSON", async () => {
    await succeed("set", "@/disk.qcow2", "a=1", "b=two\nlines \u00e4\u{1f42e}");
    const json = await succeed("export", "@/disk.qcow2");
    expect(JSON.parse(json)).toEqual({ a: "1", b: "two\nlines \u00e4\u{1f42e}" });
    writeFileSync(join(twins.byreFolder, "meta.json"), json);
    twins.make("qemu-img", "create", "-f", "qcow2", "@/other.qcow2", "10M");
    writeFileSync(join(twins.byreFolder, "meta.json"), json);
    await succeed("set", "@/other.qcow2", "a=0", "c=3");
    await succeed("import", "@/other.qcow2", "@/meta.json");
    expect(await succeed("list", "--output=json", "@/other.qcow2").then(JSON.parse)).toEqual({
      ...JSON.parse(json),
      c: "3",
    });
    await succeed("import", "--replace", "@/other.qcow2", "@/meta.json");
    expect(await succeed("export", "@/other.qcow2")).toBe(json);
  });

  it("lists in one line what would steer a terminal, and gets it as it is", async () => {
    await succeed("set", "@/disk.qcow2", "a=1\n2\u001b[31m\\");
    expect(await succeed("list", "@/disk.qcow2")).toBe("a=1\\n2\\u{1b}[31m\\\\\n");
    expect(await succeed("get", "@/disk.qcow2", "a")).toBe("1\n2\u001b[31m\\\n");
  });

  it("takes a value from a file", async () => {
    writeFileSync(join(twins.byreFolder, "licence"), "Do what you like.\n");
    await succeed("set", "@/disk.qcow2", "a=@b", "--from-file", "appliance.license=@/licence");
    expect(await succeed("get", "@/disk.qcow2", "appliance.license")).toBe("Do what you like.\n\n");
    expect(await succeed("get", "@/disk.qcow2", "a")).toBe("@b\n");
  });

  it("warns of a value that a machine would pass over", async () => {
    const { code, err } = await meta("set", "@/disk.qcow2", "machine.memory=lots");
    expect(code).toBe(0);
    expect(err).toContain("machine.memory must be a number of MiB");
  });

  it.each([
    ["a key that is none", ["set", "@/disk.qcow2", "good=1", "Bad Key=2"], /no metadata key/],
    ["a pair without a value", ["set", "@/disk.qcow2", "key"], /KEY=VALUE/],
    ["no pair", ["set", "@/disk.qcow2"], /Which keys/],
    ["a key that is not there", ["get", "@/disk.qcow2", "nope"], /no key "nope"/],
    ["to remove what is not there", ["unset", "@/disk.qcow2", "kept", "nope"], /no key "nope"/],
    ["a missing image", ["list", "@/missing"], /no such file/],
    ["an image of another format", ["list", "-f", "raw", "@/disk.qcow2"], /Only qcow2/],
    ["to write one of another format", ["set", "@/text", "a=b"], /Only qcow2/],
    ["an unknown action", ["frobnicate", "@/disk.qcow2"], /unknown command/],
    ["JSON that is none", ["import", "@/disk.qcow2", "@/text"], /not JSON/],
    ["JSON that is a list", ["import", "@/disk.qcow2", "@/list.json"], /not a JSON object/],
    ["JSON with numbers", ["import", "@/disk.qcow2", "@/number.json"], /value of a is not a string/],
    ["a missing JSON file", ["import", "@/disk.qcow2", "@/missing.json"], /Could not read/],
  ])("refuses %s, and changes nothing", async (_, words, message) => {
    await succeed("set", "@/disk.qcow2", "kept=1");
    writeFileSync(join(twins.byreFolder, "text"), "text");
    writeFileSync(join(twins.byreFolder, "list.json"), "[]");
    writeFileSync(join(twins.byreFolder, "number.json"), '{"a": 1}');
    const before = bytes();
    const { code, err } = await meta(...words);
    expect(err).toMatch(message);
    expect(code).toBe(1);
    expect(bytes().equals(before)).toBe(true);
  });

  it("says what to shorten when the header has no room", async () => {
    const noise = Buffer.from(randomBytes(45_000)).toString("base64");
    const before = bytes();
    const { code, err } = await meta("set", "@/disk.qcow2", "small=1", `appliance.icon=${noise}`);
    expect(code).toBe(1);
    expect(err).toMatch(/room for 32768\. Shorten or unset the largest: appliance\.icon \(60000 bytes\)/);
    expect(bytes().equals(before)).toBe(true);
    twins.make("qemu-img", "create", "-f", "qcow2", "-o", "cluster_size=512", "@/small.qcow2", "1M");
    const small = await meta("set", "@/small.qcow2", "a=1");
    expect(small.code).toBe(1);
    expect(small.err).toMatch(/room for 0.*larger clusters/);
  });

  it("writes nothing over metadata that it cannot read", async () => {
    await succeed("set", "@/disk.qcow2", "kept=1");
    const damaged = bytes();
    const magic = Buffer.alloc(4);
    magic.writeUInt32BE(METADATA_MAGIC);
    damaged[damaged.indexOf(magic) + 8] = 9;
    writeFileSync(join(twins.byreFolder, "disk.qcow2"), damaged);
    const { code, err } = await meta("set", "@/disk.qcow2", "a=1");
    expect(code).toBe(1);
    expect(err).toContain("version 9");
    expect(bytes().equals(damaged)).toBe(true);
  });
});
