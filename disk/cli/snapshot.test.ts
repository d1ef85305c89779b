import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { hasQemu } from "../testing/qemu.ts";
import { qemu, Twins } from "./testing/twins.ts";

/** Two snapshots made at other times have other dates. */
const DATES = [/\d{4}-\d\d-\d\d \d\d:\d\d:\d\d/g];

describe.skipIf(!hasQemu)("byre snapshot, as qemu-img snapshot", () => {
  let twins: Twins;
  let template: Twins;
  beforeAll(() => {
    template = new Twins();
    twins = template;
    twins.make("qemu-img", "create", "-f", "qcow2", "@/disk.qcow2", "10M");
    twins.make("qemu-io", "-c", "write -P 1 0 1M", "@/disk.qcow2");
    twins.make("qemu-img", "snapshot", "-c", "one", "@/disk.qcow2");
    twins.make("qemu-io", "-c", "write -P 2 512k 1M", "@/disk.qcow2");
    twins.put("disk.raw", new Uint8Array(4096));
  }, 90_000);
  afterAll(() => template.close());
  beforeEach(() => {
    twins = template.copy();
  });
  afterEach(() => twins.close());

  const list = async () => await twins.expectSame(["snapshot", "-l", "@/disk.qcow2"], { except: DATES });

  it("lists what there is, and nothing when not told to", async () => {
    expect((await list()).out).toContain("one");
    await twins.expectSame(["snapshot", "@/disk.qcow2"]);
    await twins.expectSame(["snapshot", "-U", "-l", "@/disk.qcow2"]);
  });

  it("prints nothing for an image without any, and for a raw one", async () => {
    twins.make("qemu-img", "create", "-f", "qcow2", "@/none.qcow2", "10M");
    await twins.expectSame(["snapshot", "-l", "@/none.qcow2"]);
    await twins.expectSame(["snapshot", "-l", "@/disk.raw"]);
  });

  it("makes, applies and drops them", async () => {
    await twins.expectSame(["snapshot", "-c", "two", "@/disk.qcow2"]);
    await list();
    twins.expectAlike("disk.qcow2");
    await twins.expectSame(["snapshot", "-a", "one", "@/disk.qcow2"]);
    twins.expectAlike("disk.qcow2");
    await twins.expectSame(["snapshot", "-d", "one", "@/disk.qcow2"]);
    await list();
    twins.expectAlike("disk.qcow2");
    await twins.expectSame(["snapshot", "-q", "-d", "two", "@/disk.qcow2"]);
    await list();
    twins.expectAlike("disk.qcow2");
  });

  it("goes by the name to drop, by an id before a name to apply, and takes a name twice", async () => {
    await twins.expectSame(["snapshot", "-c", "1", "@/disk.qcow2"]);
    await twins.expectSame(["snapshot", "-c", "one", "@/disk.qcow2"]);
    await twins.expectSame(["snapshot", "-a", "1", "@/disk.qcow2"]);
    twins.expectAlike("disk.qcow2");
    await twins.expectSame(["snapshot", "-d", "2", "@/disk.qcow2"]);
    await twins.expectSame(["snapshot", "-d", "1", "@/disk.qcow2"]);
    await list();
    await twins.expectSame(["snapshot", "-c", "", "@/disk.qcow2"]);
    await list();
  });

  it("lists a name beyond ASCII as QEMU does", async () => {
    await twins.expectSame(["snapshot", "-c", "\u00fcn\u00ef \u{1f42e}", "@/disk.qcow2"]);
    await list();
  });

  it("cuts a long name as QEMU does", async () => {
    await twins.expectSame(["snapshot", "-c", "x".repeat(300), "@/disk.qcow2"]);
    await list();
  });

  it.each([
    ["dropping what is not there", ["-d", "nope", "@/disk.qcow2"]],
    ["applying what is not there", ["-a", "nope", "@/disk.qcow2"]],
    ["two things at once", ["-c", "x", "-d", "y", "@/disk.qcow2"]],
    ["a list and something else", ["-l", "-c", "x", "@/disk.qcow2"]],
    ["one thing twice", ["-c", "x", "-c", "y", "@/disk.qcow2"]],
    ["a list twice", ["-l", "-l", "@/disk.qcow2"]],
    ["no image", ["-c", "x"]],
    ["a raw image", ["-c", "x", "@/disk.raw"]],
    ["dropping from a raw image", ["-d", "x", "@/disk.raw"]],
    ["a missing file", ["-l", "@/missing"]],
    ["a missing file to change", ["-c", "x", "@/missing"]],
    ["a directory", ["-l", "@/"]],
  ])("refuses %s", async (_, words) => {
    const before = twins.digest("disk.qcow2");
    await twins.expectSame(["snapshot", ...words]);
    expect(twins.digest("disk.qcow2")).toBe(before);
  });

  it("refuses where refcounts cannot count two", async () => {
    twins.make("qemu-img", "create", "-f", "qcow2", "-o", "refcount_bits=1", "@/narrow.qcow2", "10M");
    twins.make("qemu-io", "-c", "write 0 64k", "@/narrow.qcow2");
    await twins.expectSame(["snapshot", "-c", "x", "@/narrow.qcow2"]);
  });

  it("opens nothing that is behind the image", async () => {
    twins.make(
      "qemu-img",
      "create",
      "-f",
      "qcow2",
      "-u",
      "-b",
      "missing",
      "-F",
      "raw",
      "@/orphan.qcow2",
      "1M",
    );
    expect((await twins.byre("snapshot", "-c", "x", "@/orphan.qcow2")).code).toBe(0);
    const { out } = qemu("qemu-img", ["info", join(twins.byreFolder, "orphan.qcow2")]);
    expect(out).toContain("Snapshot list:");
  });
});
