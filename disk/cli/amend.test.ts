import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { hasQemu } from "../testing/qemu.ts";
import { Twins } from "./testing/twins.ts";

describe.skipIf(!hasQemu)("byre amend, as qemu-img amend", () => {
  let twins: Twins;
  const make = (...words: string[]) => twins.make("qemu-img", "create", "-f", "qcow2", ...words);
  let template: Twins;
  beforeAll(() => {
    template = new Twins();
    twins = template;
    make("@/new.qcow2", "10M");
    twins.make("qemu-io", "-c", "write -P 1 0 1M", "-c", "write -z 2M 1M", "@/new.qcow2");
    make("-o", "compat=0.10", "@/old.qcow2", "10M");
    twins.make("qemu-io", "-c", "write -P 1 0 1M", "@/old.qcow2");
    make("-b", "new.qcow2", "-F", "qcow2", "@/overlay.qcow2");
    twins.make("qemu-io", "-c", "write -P 1 64k 64k", "-c", "write -z 0 64k", "@/overlay.qcow2");
    make("-o", "lazy_refcounts=on", "@/lazy.qcow2", "10M");
    twins.put("disk.raw", new Uint8Array(4096));
  }, 90_000);
  afterAll(() => template.close());
  beforeEach(() => {
    twins = template.copy();
  });
  afterEach(() => twins.close());

  it.each([
    ["version 2 to 3", "old.qcow2", "compat=1.1"],
    ["version 3 to 2", "new.qcow2", "compat=0.10"],
    ["an overlay to version 2", "overlay.qcow2", "compat=v2"],
    ["a lazy one to version 2", "lazy.qcow2", "compat=0.10"],
    ["what it is already", "new.qcow2", "compat=1.1"],
    ["lazy refcounts on", "new.qcow2", "lazy_refcounts=on"],
    ["lazy refcounts off", "lazy.qcow2", "lazy_refcounts=off"],
    ["refcounts of 1 bit", "new.qcow2", "refcount_bits=1"],
    ["refcounts of 64 bits", "new.qcow2", "refcount_bits=64"],
    ["several at once", "old.qcow2", "compat=1.1,refcount_bits=8,lazy_refcounts=on"],
    ["a larger size", "new.qcow2", "size=20M"],
    ["a smaller size", "new.qcow2", "size=5M"],
    ["the backing file it has", "overlay.qcow2", "backing_file=new.qcow2,backing_fmt=qcow2"],
  ])("changes %s", async (_, name, options) => {
    await twins.expectSame(["amend", "-o", options, `@/${name}`]);
    twins.expectAlike(name);
  });

  it("shows how far it has come with -p, and nothing else", async () => {
    const { out, code } = await twins.byre("amend", "-p", "-o", "compat=0.10", "@/new.qcow2");
    expect(code).toBe(0);
    expect(out).toMatch(/^ {4}\(0\.00\/100%\)\r(.*\r)* {4}\(100\.00\/100%\)\r\n$/);
  });

  it("refuses refcounts too narrow for what is counted", async () => {
    twins.make("qemu-img", "snapshot", "-c", "x", "@/new.qcow2");
    await twins.expectSame(["amend", "-o", "refcount_bits=1", "@/new.qcow2"]);
    twins.expectAlike("new.qcow2");
  });

  it.each([
    ["no options", ["@/new.qcow2"]],
    ["no image", ["-o", "compat=1.1"]],
    ["an unknown option", ["-o", "foo=bar", "@/new.qcow2"]],
    ["what is fixed at creation", ["-o", "cluster_size=4k", "@/new.qcow2"]],
    ["another compression", ["-o", "compression_type=zstd", "@/new.qcow2"]],
    ["encryption", ["-o", "encryption=on", "@/new.qcow2"]],
    ["an unknown version", ["-o", "compat=2", "@/new.qcow2"]],
    ["an impossible width", ["-o", "refcount_bits=3", "@/new.qcow2"]],
    ["a width that version 2 has not", ["-o", "refcount_bits=8", "@/old.qcow2"]],
    ["lazy refcounts in version 2", ["-o", "lazy_refcounts=on", "@/old.qcow2"]],
    ["a switch that is neither", ["-o", "lazy_refcounts=maybe", "@/new.qcow2"]],
    ["another backing file", ["-o", "backing_file=old.qcow2,backing_fmt=qcow2", "@/overlay.qcow2"]],
    ["a size that is none", ["-o", "size=big", "@/new.qcow2"]],
    ["an unknown cache mode", ["-t", "fast", "-o", "compat=1.1", "@/new.qcow2"]],
    ["a raw image", ["-o", "size=1M", "@/disk.raw"]],
    ["a missing image", ["-o", "compat=1.1", "@/missing"]],
  ])("refuses %s", async (_, words) => {
    const contents = () => twins.digest("new.qcow2", "old.qcow2", "overlay.qcow2");
    const before = contents();
    await twins.expectSame(["amend", ...words]);
    expect(contents()).toBe(before);
  });

  it("lists what can be changed, as QEMU does but for encryption and external data", async () => {
    const names = (text: string) => [...text.matchAll(/^ {2}(\S+?)=/gm)].map((match) => match[1]);
    const theirs = twins.qemu("qemu-img", "amend", "-f", "qcow2", "-o", "help");
    const ours = await twins.byre("amend", "-f", "qcow2", "-o", "help");
    expect(names(ours.out)).toEqual(
      names(theirs.out).filter((name) => !/^(encrypt\.|data_file)/.test(name ?? "")),
    );
  });
});
