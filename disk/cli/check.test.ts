import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { hasQemu } from "../testing/qemu.ts";
import { Twins } from "./testing/twins.ts";

const CLUSTER = 65536;

describe.skipIf(!hasQemu)("byre check, as qemu-img check", () => {
  let twins: Twins;
  let template: Twins;
  beforeAll(() => {
    template = new Twins();
    twins = template;
    twins.make("qemu-img", "create", "-f", "qcow2", "@/clean.qcow2", "10M");
    twins.make("qemu-io", "-c", "write -P 1 0 1M", "@/clean.qcow2");
  }, 90_000);
  afterAll(() => template.close());
  beforeEach(() => {
    twins = template.copy();
  });
  afterEach(() => twins.close());

  /** The clean image with 16-bit refcounts set by hand. The refcount block is the third cluster. */
  function withRefcounts(name: string, counts: Readonly<Record<number, number>>): void {
    const clean = readFileSync(join(twins.qemuFolder, "clean.qcow2"));
    // Clusters past the end of the file are nobody's.
    const bytes = Buffer.concat([clean, Buffer.alloc(30 * CLUSTER - clean.length)]);
    for (const [cluster, count] of Object.entries(counts))
      bytes.writeUInt16BE(count, 2 * CLUSTER + 2 * Number(cluster));
    twins.put(name, bytes);
  }

  const both = async (words: readonly string[]) => {
    await twins.expectSame(["check", ...words]);
    await twins.expectSame(["check", "--output=json", ...words], { json: {} });
  };

  it("finds a clean image clean", async () => {
    await both(["@/clean.qcow2"]);
    await both(["-f", "qcow2", "-U", "@/clean.qcow2"]);
    await twins.expectSame(["check", "-q", "@/clean.qcow2"]);
    twins.make("qemu-img", "create", "-f", "qcow2", "@/empty.qcow2", "10M");
    await both(["@/empty.qcow2"]);
    twins.make("qemu-img", "convert", "-O", "qcow2", "-c", "@/clean.qcow2", "@/packed.qcow2");
    await both(["@/packed.qcow2"]);
  });

  it.each([1, 3, 5, 7])("rounds the percentage of %i clusters of 32", async (clusters) => {
    twins.make("qemu-img", "create", "-f", "qcow2", "@/part.qcow2", "2M");
    twins.make("qemu-io", "-c", `write 0 ${clusters * CLUSTER}`, "@/part.qcow2");
    await twins.expectSame(["check", "@/part.qcow2"]);
  });

  it("reports leaks with exit code 3 and errors with 2", async () => {
    withRefcounts("leaks.qcow2", { 25: 1, 26: 1 });
    const leaks = await twins.expectSame(["check", "@/leaks.qcow2"]);
    expect(leaks.code).toBe(3);
    await both(["@/leaks.qcow2"]);
    withRefcounts("errors.qcow2", { 10: 0, 25: 1 });
    const errors = await twins.expectSame(["check", "@/errors.qcow2"]);
    expect(errors.code).toBe(2);
    await both(["@/errors.qcow2"]);
  });

  it("says each finding in the words of qemu-img", async () => {
    withRefcounts("errors.qcow2", { 10: 0, 11: 2, 25: 1 });
    const theirs = twins.qemu("qemu-img", "check", "@/errors.qcow2");
    const ours = await twins.byre("check", "@/errors.qcow2");
    expect(ours.err).toBe(theirs.err);
  });

  it.each([["leaks"], ["all"]])("repairs with -r %s", async (what) => {
    withRefcounts("leaks.qcow2", { 25: 1, 26: 1 });
    await twins.expectSame(["check", "-r", what, "@/leaks.qcow2"]);
    await twins.expectSame(["check", "@/leaks.qcow2"]);
    withRefcounts("counts.qcow2", { 11: 2, 25: 1 });
    await twins.expectSame(["check", "-r", what, "--output=json", "@/counts.qcow2"], { json: {} });
    await twins.expectSame(["check", "@/counts.qcow2"]);
    twins.expectAlike("counts.qcow2");
  });

  it.each([
    ["a missing file", ["@/missing"]],
    ["a directory", ["@/"]],
    ["no file", []],
    ["two files", ["@/clean.qcow2", "@/clean.qcow2"]],
    ["an unknown repair", ["-r", "some", "@/clean.qcow2"]],
    ["a raw image", ["@/text"]],
    ["a qcow2 image as a raw one", ["-f", "raw", "@/clean.qcow2"]],
    ["a raw image as a qcow2 one", ["-f", "qcow2", "@/text"]],
    ["an unknown format", ["-f", "nope", "@/clean.qcow2"]],
    ["an unknown output", ["--output=xml", "@/clean.qcow2"]],
  ])("fails alike on %s", async (_, words) => {
    twins.put("text", "this is no image");
    await twins.expectSame(["check", ...words]);
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
    expect((await twins.byre("check", "@/orphan.qcow2")).code).toBe(0);
  });
});
