import { existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { hasQemu } from "../testing/qemu.ts";
import { qemu, Twins } from "./testing/twins.ts";

const SECRET = ["--object", "secret,id=s,data=pw"];

describe.skipIf(!hasQemu)("byre create, as qemu-img create", () => {
  let twins: Twins;
  beforeAll(() => {
    twins = new Twins();
    twins.make("qemu-img", "create", "-f", "qcow2", "@/base.qcow2", "10M");
    twins.make(
      "qemu-img",
      "create",
      "-f",
      "qcow2",
      ...SECRET,
      "-o",
      "encrypt.format=aes,encrypt.key-secret=s",
      "@/aes.qcow2",
      "1M",
    );
    twins.put("base.raw", new Uint8Array(1_000_000));
  });
  afterAll(() => twins.close());

  it.each([
    ["raw when no format is said", ["@/x", "10M"]],
    ["an odd raw size", ["-f", "raw", "@/x", "1001"]],
    ["a full raw file", ["-f", "raw", "-o", "preallocation=full", "@/x", "1M"]],
    ["a plain image", ["-f", "qcow2", "@/x", "1G"]],
    ["an odd size", ["-f", "qcow2", "@/x", "1001"]],
    ["an empty disk", ["-f", "qcow2", "@/x", "0"]],
    ["the size among the options", ["-f", "qcow2", "-o", "size=1.5G", "@/x"]],
    ["version 2", ["-f", "qcow2", "-o", "compat=0.10", "@/x", "10M"]],
    ["version 3 by name", ["-f", "qcow2", "-o", "compat=v3", "@/x", "10M"]],
    ["small clusters", ["-f", "qcow2", "-o", "cluster_size=512", "@/x", "10M"]],
    ["large clusters", ["-f", "qcow2", "-o", "cluster_size=2M", "@/x", "10T"]],
    ["hexadecimal", ["-f", "qcow2", "-o", "cluster_size=0x2000", "@/x", "10M"]],
    ["1-bit refcounts", ["-f", "qcow2", "-o", "refcount_bits=1", "@/x", "10M"]],
    ["64-bit refcounts", ["-f", "qcow2", "-o", "refcount_bits=64", "@/x", "10M"]],
    ["lazy refcounts", ["-f", "qcow2", "-o", "lazy_refcounts=on", "@/x", "10M"]],
    ["a switch alone", ["-f", "qcow2", "-o", "lazy_refcounts", "@/x", "10M"]],
    ["zstd", ["-f", "qcow2", "-o", "compression_type=zstd", "@/x", "10M"]],
    ["extended L2", ["-f", "qcow2", "-o", "extended_l2=on", "@/x", "10M"]],
    ["options in several lists", ["-f", "qcow2", "-o", "compat=1.1", "-o", "cluster_size=8k", "@/x", "10M"]],
    ["preallocated metadata", ["-f", "qcow2", "-o", "preallocation=metadata", "@/x", "10M"]],
    ["preallocated data", ["-f", "qcow2", "-o", "preallocation=full", "@/x", "1M"]],
    ["preallocated space", ["-f", "qcow2", "-o", "preallocation=falloc", "@/x", "1M"]],
    ["a backing file", ["-f", "qcow2", "-b", "base.qcow2", "-F", "qcow2", "@/x"]],
    ["a backing file and a size", ["-f", "qcow2", "-b", "base.qcow2", "-F", "qcow2", "@/x", "20M"]],
    ["a raw backing file", ["-f", "qcow2", "-b", "base.raw", "-F", "raw", "@/x"]],
    [
      "a backing file among the options",
      ["-f", "qcow2", "-o", "backing_file=base.qcow2,backing_fmt=qcow2", "@/x"],
    ],
    ["a backing file that is not there", ["-f", "qcow2", "-u", "-b", "nowhere", "-F", "qcow2", "@/x", "5M"]],
    ["a backing file's name with a comma", ["-f", "qcow2", "-u", "-b", "a,b c", "-F", "raw", "@/x", "5M"]],
    ["encryption", ["-f", "qcow2", ...SECRET, "-o", "encrypt.format=aes,encrypt.key-secret=s", "@/x", "1M"]],
    [
      "encryption, the old way",
      ["-f", "qcow2", ...SECRET, "-o", "encryption=on,encrypt.key-secret=s", "@/x", "1M"],
    ],
    ["nothing but errors", ["-q", "-f", "qcow2", "@/x", "1M"]],
  ])("makes %s", async (_, words) => {
    await twins.expectSame(["create", ...words]);
    // What was made is the same by QEMU's account, and clean.
    const folders = [twins.qemuFolder, twins.byreFolder];
    const [theirs, ours] = folders.map((folder) => {
      const { out } = qemu("qemu-img", ["info", "--output=json", join(folder, "x")]);
      return { ...JSON.parse(out), filename: "", "actual-size": 0, "full-backing-filename": "" };
    });
    expect(ours).toEqual(theirs);
    if (ours?.format !== "qcow2")
      return expect(statSync(join(twins.byreFolder, "x")).size).toBe(ours?.["virtual-size"]);
    const check = qemu("qemu-img", ["check", "-f", "qcow2", join(twins.byreFolder, "x")]);
    if (!words.some((word) => ["--object", "-u", "aes.qcow2"].includes(word)))
      expect(check.err + check.out).toContain("No errors");
  });

  const kept = "this is still there";
  it.each([
    ["no name", ["-f", "qcow2"]],
    ["no size", ["-f", "qcow2", "@/y"]],
    ["a size that is none", ["-f", "qcow2", "@/y", "ten"]],
    ["half a byte", ["-f", "qcow2", "@/y", "1.5"]],
    ["a size past 63 bits", ["-f", "qcow2", "@/y", "8E"]],
    ["a size twice", ["-f", "qcow2", "-o", "size=1M", "@/y", "2M"]],
    ["an argument too many", ["-f", "qcow2", "@/y", "1M", "more"]],
    ["an unknown format", ["-f", "nope", "@/y", "1M"]],
    ["an unknown option", ["-f", "qcow2", "-o", "foo=bar", "@/y", "1M"]],
    ["an option of another format", ["-f", "raw", "-o", "cluster_size=4k", "@/y", "1M"]],
    ["an empty option", ["-f", "qcow2", "-o", "", "@/y", "1M"]],
    ["a switch that is neither", ["-f", "qcow2", "-o", "lazy_refcounts=maybe", "@/y", "1M"]],
    ["a number that is none", ["-f", "qcow2", "-o", "refcount_bits=many", "@/y", "1M"]],
    ["a size option that is none", ["-f", "qcow2", "-o", "cluster_size=big", "@/y", "1M"]],
    ["a backing file without a format", ["-f", "qcow2", "-b", "base.qcow2", "@/y"]],
    ["a backing file that is missing", ["-f", "qcow2", "-b", "missing", "-F", "qcow2", "@/y"]],
    ["a backing file of the wrong format", ["-f", "qcow2", "-b", "base.raw", "-F", "qcow2", "@/y"]],
    ["a backing file of an unknown format", ["-f", "qcow2", "-b", "base.raw", "-F", "nope", "@/y"]],
    ["itself as its backing file", ["-f", "qcow2", "-b", "@/base.qcow2", "-F", "qcow2", "@/base.qcow2"]],
    ["a raw image with a backing file", ["-f", "raw", "-b", "base.raw", "-F", "raw", "@/y"]],
    ["no size and a backing file unseen", ["-f", "qcow2", "-u", "-b", "missing", "-F", "qcow2", "@/y"]],
    ["an empty backing name", ["-f", "qcow2", "-b", "", "@/y", "1M"]],
    ["an unknown protocol", ["-f", "qcow2", "gopher:x", "1M"]],
  ])("refuses %s", async (_, words) => {
    writeFileSync(join(twins.byreFolder, "y"), kept);
    await twins.expectSame(["create", ...words]);
    expect(readFileSync(join(twins.byreFolder, "y"), "utf8")).toBe(kept);
  });

  it.each([
    ["a cluster size that is no power of two", ["-o", "cluster_size=1000"]],
    ["clusters too small", ["-o", "cluster_size=256"]],
    ["clusters too large", ["-o", "cluster_size=4M"]],
    ["an impossible refcount width", ["-o", "refcount_bits=3"]],
    ["a refcount width past 64", ["-o", "refcount_bits=128"]],
    ["a refcount width in version 2", ["-o", "compat=0.10,refcount_bits=8"]],
    ["lazy refcounts in version 2", ["-o", "compat=0.10,lazy_refcounts=on"]],
    ["extended L2 in version 2", ["-o", "compat=0.10,extended_l2=on"]],
    ["extended L2 with small clusters", ["-o", "extended_l2=on,cluster_size=4k"]],
    ["zstd in version 2", ["-o", "compat=0.10,compression_type=zstd"]],
    ["an unknown compression", ["-o", "compression_type=lzma"]],
    ["an unknown version", ["-o", "compat=2"]],
    ["an unknown preallocation", ["-o", "preallocation=some"]],
    ["preallocation over a backing file", ["-o", "preallocation=full", "-b", "base.qcow2", "-F", "qcow2"]],
    ["a format for no backing file", ["-F", "qcow2"]],
    ["encryption without a password", ["-o", "encrypt.format=aes"]],
    ["encryption with an unknown password", ["-o", "encrypt.format=aes,encrypt.key-secret=other"]],
    ["encryption twice", ["-o", "encryption=on,encrypt.format=aes"]],
    ["an unknown encryption", ["-o", "encrypt.format=rot13"]],
    ["a password for nothing", [...SECRET, "-o", "encrypt.key-secret=s"]],
  ])("refuses %s after saying what it formats, and leaves what was there", async (_, words) => {
    writeFileSync(join(twins.byreFolder, "y"), kept);
    await twins.expectSame(["create", "-f", "qcow2", ...words, "@/y", "1M"]);
    expect(readFileSync(join(twins.byreFolder, "y"), "utf8")).toBe(kept);
  });

  it("makes nothing in a folder that is not there, nor over a folder", async () => {
    await twins.expectSame(["create", "-f", "qcow2", "@/none/x", "1M"]);
    await twins.expectSame(["create", "-f", "qcow2", "@/", "1M"]);
  });

  it("knows itself behind another name, which qemu-img does not", async () => {
    const { code, err } = await twins.byre(
      "create",
      "-f",
      "qcow2",
      "-b",
      "./base.qcow2",
      "-F",
      "qcow2",
      "@/base.qcow2",
    );
    expect(code).toBe(1);
    expect(err).toContain("same filename");
  });

  it("refuses what the format's tables cannot hold", async () => {
    await twins.expectSame(["create", "-f", "qcow2", "@/z", "7E"]);
    await twins.expectSame(["create", "-f", "qcow2", "-o", "cluster_size=512", "@/z", "1T"]);
    expect(existsSync(join(twins.byreFolder, "z"))).toBe(false);
  });

  it("lists its options, the same that QEMU knows for its formats but LUKS's", async () => {
    const names = (text: string) => [...text.matchAll(/^ {2}(\S+?)=/gm)].map((match) => match[1]);
    const ours = await twins.byre("create", "-f", "qcow2", "-o", "help");
    const theirs = twins.qemu("qemu-img", "create", "-f", "qcow2", "-o", "help");
    const luks = /^encrypt\.(cipher|hash|iter|ivgen)/;
    expect(names(ours.out)).toEqual(names(theirs.out).filter((name) => !luks.test(name ?? "")));
    expect(ours.code).toBe(0);
  });
});
