import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { hasQemu } from "../testing/qemu.ts";
import { Twins } from "./testing/twins.ts";

describe.skipIf(!hasQemu)("byre rebase, as qemu-img rebase", () => {
  let twins: Twins;
  let template: Twins;
  beforeAll(() => {
    template = new Twins();
    twins = template;
    const make = (...words: string[]) => twins.make("qemu-img", "create", "-f", "qcow2", ...words);
    make("@/base.qcow2", "10M");
    make("@/other.qcow2", "4M");
    twins.make("qemu-io", "-c", "write -P 1 0 1M", "-c", "write -P 2 8M 1M", "@/base.qcow2");
    twins.make("qemu-io", "-c", "write -P 1 0 512k", "-c", "write -P 3 3M 100k", "@/other.qcow2");
    make("-b", "base.qcow2", "-F", "qcow2", "@/overlay.qcow2", "12M");
    twins.make("qemu-io", "-c", "write -P 9 256k 64k", "-c", "write -P 9 9M 1k", "@/overlay.qcow2");
    twins.put("disk.raw", new Uint8Array(2 * 1024 * 1024).fill(1, 0, 300_000));
  }, 90_000);
  afterAll(() => template.close());
  beforeEach(() => {
    twins = template.copy();
  });
  afterEach(() => twins.close());

  it.each([
    ["another image", ["-b", "other.qcow2", "-F", "qcow2", "@/overlay.qcow2"]],
    ["a raw file", ["-b", "disk.raw", "-F", "raw", "@/overlay.qcow2"]],
    ["nothing", ["-b", "", "@/overlay.qcow2"]],
    ["the same", ["-b", "base.qcow2", "-F", "qcow2", "@/overlay.qcow2"]],
    ["a backing file from none", ["-b", "overlay.qcow2", "-F", "qcow2", "@/other.qcow2"]],
  ])("puts an image over %s and keeps its content", async (_, words) => {
    await twins.expectSame(["rebase", ...words]);
    const name = (words.at(-1) ?? "").replace("@/", "");
    twins.expectAlike(name);
    // The same is stored, no more.
    const theirs = twins.qemu("qemu-img", "map", "--output=json", `@/${name}`);
    const ours = await twins.byre("map", "--output=json", `@/${name}`);
    const where = (text: string) =>
      (JSON.parse(text) as { start: number; length: number; depth: number; data: boolean }[]).map(
        ({ start, length, depth, data }) => ({ start, length, depth, data }),
      );
    expect(where(ours.out)).toEqual(where(theirs.out));
  });

  it.each([
    ["a file that is not there", ["-u", "-b", "nowhere", "-F", "raw", "@/overlay.qcow2"]],
    ["none", ["-u", "-b", "", "@/overlay.qcow2"]],
    ["none, not even said", ["-u", "@/overlay.qcow2"]],
    ["another format", ["-u", "-q", "-b", "base.qcow2", "-F", "raw", "@/overlay.qcow2"]],
  ])("changes the name alone to %s", async (_, words) => {
    await twins.expectSame(["rebase", ...words]);
    await twins.expectSame(["info", "@/overlay.qcow2"], { except: [/disk size: .*/] });
  });

  it("shows how far it has come with -p", async () => {
    const { out } = await twins.byre("rebase", "-p", "-b", "other.qcow2", "-F", "qcow2", "@/overlay.qcow2");
    expect(out).toMatch(/^ {4}\(0\.00\/100%\)\r(.*\r)* {4}\(100\.00\/100%\)\r\n$/);
  });

  it.each([
    ["no backing file and no -u", ["@/overlay.qcow2"]],
    ["a format that is none", ["-u", "-b", "x", "-F", "nope", "@/overlay.qcow2"]],
    ["a backing file without a format", ["-b", "other.qcow2", "@/overlay.qcow2"]],
    ["a name without a format", ["-u", "-b", "other.qcow2", "@/overlay.qcow2"]],
    ["a backing file that is missing", ["-b", "missing", "-F", "raw", "@/overlay.qcow2"]],
    ["a backing file of the wrong format", ["-b", "disk.raw", "-F", "qcow2", "@/overlay.qcow2"]],
    ["itself", ["-b", "overlay.qcow2", "-F", "qcow2", "@/overlay.qcow2"]],
    ["what is over it", ["-b", "overlay.qcow2", "-F", "qcow2", "@/base.qcow2"]],
    ["a raw image", ["-u", "-b", "base.qcow2", "-F", "qcow2", "@/disk.raw"]],
    ["a missing image", ["-u", "-b", "base.qcow2", "-F", "qcow2", "@/missing"]],
    ["an unknown cache mode", ["-t", "fast", "-b", "", "@/overlay.qcow2"]],
    ["no image", ["-b", ""]],
  ])("refuses %s", async (_, words) => {
    const before = twins.digest("overlay.qcow2");
    await twins.expectSame(["rebase", ...words]);
    expect(twins.digest("overlay.qcow2")).toBe(before);
  });

  it("refuses an image whose old backing file is missing, unless told not to look", async () => {
    twins.make("qemu-img", "rebase", "-u", "-b", "gone.qcow2", "-F", "qcow2", "@/overlay.qcow2");
    await twins.expectSame(["rebase", "-b", "base.qcow2", "-F", "qcow2", "@/overlay.qcow2"]);
    await twins.expectSame(["rebase", "-u", "-b", "base.qcow2", "-F", "qcow2", "@/overlay.qcow2"]);
    twins.expectAlike("overlay.qcow2");
  });
});
