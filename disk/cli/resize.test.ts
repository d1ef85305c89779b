import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { hasQemu } from "../testing/qemu.ts";
import { qemu, Twins } from "./testing/twins.ts";

describe.skipIf(!hasQemu)("byre resize, as qemu-img resize", () => {
  let twins: Twins;
  let template: Twins;
  beforeAll(() => {
    template = new Twins();
    twins = template;
    twins.make("qemu-img", "create", "-f", "qcow2", "@/disk.qcow2", "10M");
    twins.make("qemu-io", "-c", "write -P 5 0 64k", "-c", "write -P 6 9M 1M", "@/disk.qcow2");
    twins.put("disk.raw", new Uint8Array(1024 * 1024).fill(3));
  }, 90_000);
  afterAll(() => template.close());
  beforeEach(() => {
    twins = template.copy();
  });
  afterEach(() => twins.close());

  it.each([
    ["larger", "disk.qcow2", ["12M"]],
    ["larger by an amount", "disk.qcow2", ["+1G"]],
    ["much larger", "disk.qcow2", ["20G"]],
    ["by nothing", "disk.qcow2", ["+0"]],
    ["smaller", "disk.qcow2", ["--shrink", "5M"]],
    ["smaller by an amount", "disk.qcow2", ["--shrink", "-1M"]],
    ["smaller, options last", "disk.qcow2", ["-1M", "--shrink"]],
    ["smaller, after a --", "disk.qcow2", ["--shrink", "--", "-1M"]],
    ["larger with metadata", "disk.qcow2", ["--preallocation=metadata", "12M"]],
    ["larger with data", "disk.qcow2", ["--preallocation=full", "12M"]],
    ["larger, quietly", "disk.qcow2", ["-q", "12M"]],
    ["larger, raw", "disk.raw", ["-f", "raw", "2M"]],
    ["smaller, raw", "disk.raw", ["-f", "raw", "--shrink", "512k"]],
    ["larger with data, raw", "disk.raw", ["-f", "raw", "--preallocation=full", "+1M"]],
    ["larger with a format that is guessed", "disk.raw", ["2M"]],
  ])("makes a disk %s", async (what, name, words) => {
    const options = words.slice(0, -1);
    const isLast = what.endsWith("options last");
    const ordered = isLast
      ? ["resize", words[1] ?? "", `@/${name}`, words[0] ?? ""]
      : ["resize", ...options, `@/${name}`, words.at(-1) ?? ""];
    const placed = ordered.includes("--") ? ["resize", "--shrink", `@/${name}`, "--", "-1M"] : ordered;
    await twins.expectSame(placed);
    twins.expectAlike(name);
  });

  it.each([
    ["a smaller size not asked for", ["@/disk.qcow2", "5M"]],
    ["a smaller size by an amount", ["@/disk.qcow2", "-1M"]],
    ["a smaller raw size", ["-f", "raw", "@/disk.raw", "5k"]],
    ["a size that is none", ["@/disk.qcow2", "ten"]],
    ["an amount that is none", ["@/disk.qcow2", "+ten"]],
    ["no size", ["@/disk.qcow2"]],
    ["nothing", []],
    ["an odd size", ["@/disk.qcow2", "12345679"]],
    ["two sizes", ["@/disk.qcow2", "1M", "2M"]],
    ["zero", ["--shrink", "@/disk.qcow2", "0"]],
    ["less than nothing", ["--shrink", "@/disk.qcow2", "-20M"]],
    ["past what its tables can hold", ["@/disk.qcow2", "7E"]],
    ["past 63 bits", ["@/disk.qcow2", "8E"]],
    ["an unknown preallocation", ["--preallocation=some", "@/disk.qcow2", "12M"]],
    ["preallocation of less", ["--preallocation=full", "--shrink", "@/disk.qcow2", "1M"]],
    ["metadata of a raw file", ["-f", "raw", "--preallocation=metadata", "@/disk.raw", "8M"]],
    ["a missing file", ["@/missing", "1M"]],
    ["a directory", ["@/", "1M"]],
  ])("refuses %s", async (_, words) => {
    const before = twins.digest("disk.qcow2");
    await twins.expectSame(["resize", ...words]);
    expect(twins.digest("disk.qcow2")).toBe(before);
  });

  it("refuses a version 2 image with snapshots", async () => {
    twins.make("qemu-img", "create", "-f", "qcow2", "-o", "compat=0.10", "@/old.qcow2", "1M");
    twins.make("qemu-img", "snapshot", "-c", "kept", "@/old.qcow2");
    await twins.expectSame(["resize", "@/old.qcow2", "2M"]);
  });

  it("shows no bytes of a larger backing file in what is added", async () => {
    twins.make(
      "qemu-img",
      "create",
      "-f",
      "qcow2",
      "-b",
      "disk.qcow2",
      "-F",
      "qcow2",
      "@/overlay.qcow2",
      "1M",
    );
    await twins.expectSame(["resize", "@/overlay.qcow2", "10M"]);
    twins.expectAlike("overlay.qcow2");
    const read = qemu("qemu-io", ["-c", "read -P 0 9M 1M", join(twins.byreFolder, "overlay.qcow2")]);
    expect(read.out).not.toContain("verification failed");
  });
});
