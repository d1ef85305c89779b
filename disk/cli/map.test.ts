import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { hasQemu } from "../testing/qemu.ts";
import { byre, qemu, Twins } from "./testing/twins.ts";

describe.skipIf(!hasQemu)("byre map, compare and measure", () => {
  const twins = new Twins();

  beforeAll(() => {
    const page = (count: number, byte: number) => new Uint8Array(count * 4096).fill(byte);
    const parts = [page(40, 7), page(24, 0), page(3, 9), page(61, 0), page(128, 1), page(700, 0)];
    const bytes = new Uint8Array(956 * 4096 + 512);
    let at = 0;
    for (const part of parts) {
      bytes.set(part, at);
      at += part.length;
    }
    twins.put("data.raw", bytes);
    twins.make("qemu-img", "convert", "-f", "raw", "-O", "raw", "@/data.raw", "@/sparse.raw");
    twins.make("qemu-img", "convert", "-f", "raw", "-O", "qcow2", "@/data.raw", "@/plain.qcow2");
    twins.make("qemu-img", "convert", "-f", "raw", "-O", "qcow2", "-c", "@/data.raw", "@/packed.qcow2");
    twins.make(
      "qemu-img",
      "create",
      "-q",
      "-f",
      "qcow2",
      "-b",
      "plain.qcow2",
      "-F",
      "qcow2",
      "@/over.qcow2",
      "6M",
    );
    const writes = ["-c", "write -P 7 64k 64k", "-c", "write -z 256k 64k", "-c", "write -P 4 5M 64k"];
    twins.make("qemu-io", ...writes, "@/over.qcow2");
    twins.make("qemu-img", "create", "-q", "-f", "qcow2", "-o", "extended_l2=on", "@/parts.qcow2", "2M");
    twins.make("qemu-io", "-c", "write 6k 70k", "-c", "write -z 1M 3k", "@/parts.qcow2");
    twins.make(
      "qemu-img",
      "create",
      "-q",
      "-f",
      "qcow2",
      "-o",
      "preallocation=metadata",
      "@/room.qcow2",
      "4M",
    );
    twins.make("qemu-img", "create", "-q", "-f", "qcow2", "@/empty.qcow2", "0");
    twins.make("qemu-img", "snapshot", "-c", "before", "@/plain.qcow2");
    twins.make("qemu-io", "-c", "write -P 8 2M 256k", "@/plain.qcow2");
    twins.make("qemu-img", "create", "-q", "-f", "qcow2", "@/marked.qcow2", "4M");
    twins.make("qemu-img", "bitmap", "--add", "-g", "64k", "@/marked.qcow2", "since-monday");
  });
  afterAll(() => twins.close());

  /** Runs both on the very same files, whose holes a copy would not have. */
  async function expectSame(words: readonly string[], except = /$^/): Promise<void> {
    const placed = words.map((word) => word.replaceAll("@/", `${twins.qemuFolder}/`));
    const theirs = qemu("qemu-img", placed);
    const ours = await byre(...placed);
    const about = `byre ${words.join(" ")}\n${ours.err}${theirs.err}`;
    expect(ours.out.replace(except, ""), about).toBe(theirs.out.replace(except, ""));
    expect(ours.code, about).toBe(theirs.code);
    expect(ours.err === "", about).toBe(theirs.err === "");
  }

  const images = ["plain", "packed", "over", "parts", "room", "empty"].map((name) => `@/${name}.qcow2`);

  it.each(images)("maps %s as qemu-img does", async (image) => {
    await expectSame(["map", image]);
    await expectSame(["map", "--output=json", image]);
    if (image !== "@/empty.qcow2")
      await expectSame(["map", "--output=json", "-s", "100k", "-l", "1M", image]);
  });

  it("maps the holes of a raw image", async () => {
    await expectSame(["map", "-f", "raw", "--output=json", "@/sparse.raw"]);
    await expectSame(["map", "-f", "raw", "@/sparse.raw"]);
  });

  it.each([["-s", "1x"], ["-l", "9E"], ["--output=xml"]])(
    "refuses map %j as qemu-img does",
    async (...words) => {
      await expectSame(["map", ...words, "@/plain.qcow2"]);
    },
  );

  it.each([
    [["-f", "raw", "@/data.raw", "@/packed.qcow2"]],
    [["@/packed.qcow2", "@/plain.qcow2"]],
    [["@/plain.qcow2", "@/over.qcow2"]],
    [["-q", "@/plain.qcow2", "@/over.qcow2"]],
    [["-s", "@/plain.qcow2", "@/over.qcow2"]],
    [["-s", "@/plain.qcow2", "@/packed.qcow2"]],
    [["-s", "@/plain.qcow2", "@/plain.qcow2"]],
    [["-p", "@/over.qcow2", "@/over.qcow2"]],
    [["@/empty.qcow2", "@/room.qcow2"]],
    [["@/empty.qcow2", "@/over.qcow2"]],
    [["@/missing.qcow2", "@/over.qcow2"]],
    [["-f", "raw", "-F", "qcow2", "@/sparse.raw", "@/data.raw"]],
    [["-T", "sometimes", "@/over.qcow2", "@/over.qcow2"]],
    [["@/over.qcow2"]],
  ])("compares %j as qemu-img does", async (words) => {
    // How often the progress is drawn is QEMU's own affair.
    await expectSame(["compare", ...words], /^( {4}\([\d.]+\/100%\)\r)+/);
  });

  it.each([
    [["--size", "10G", "-O", "qcow2"]],
    [["--size", "1000", "-O", "raw"]],
    [["--size", "1T", "-O", "qcow2", "-o", "cluster_size=4k,refcount_bits=64"]],
    [["--size", "1G", "-O", "qcow2", "-o", "extended_l2=on,preallocation=full"]],
    [["-O", "qcow2", "@/plain.qcow2"]],
    [["-O", "qcow2", "-o", "cluster_size=2M", "@/over.qcow2"]],
    [["-O", "qcow2", "-o", "compat=0.10", "@/over.qcow2"]],
    [["-O", "qcow2", "-l", "before", "@/plain.qcow2"]],
    [["-O", "qcow2", "@/marked.qcow2"]],
    [["-O", "qcow2", "-f", "raw", "@/sparse.raw"]],
    [["-O", "raw", "@/over.qcow2"]],
    [["-O", "qcow2"]],
    [["--size", "1G", "@/plain.qcow2"]],
    [["--size", "1Q"]],
    [["-O", "nonsense", "--size", "1G"]],
    [["--size", "1P", "-O", "qcow2", "-o", "cluster_size=512"]],
  ])("measures %j as qemu-img does", async (words) => {
    await expectSame(["measure", ...words]);
    await expectSame(["measure", "--output=json", ...words]);
  });

  it("says at which offset contents differ", async () => {
    const ended = await twins.byre("compare", "@/plain.qcow2", "@/packed.qcow2");
    expect(ended).toMatchObject({ code: 1, out: "Content mismatch at offset 2097152!\n" });
  });
});
