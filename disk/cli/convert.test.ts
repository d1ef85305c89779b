import { copyFileSync, existsSync, readFileSync, truncateSync, writeFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { hasQemu } from "../testing/qemu.ts";
import { convert } from "./convert.ts";
import { qemu, Twins } from "./testing/twins.ts";

const MEBI = 1024 * 1024;

/** Half of it compresses, and there are whole and partial pages of zeros in it. */
function mixedBytes(lengthBytes: number): Uint8Array {
  const bytes = new Uint8Array(lengthBytes);
  let state = 1;
  for (let at = 0; at < lengthBytes; at++) {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    const region = Math.floor(at / 40_000) % 4;
    if (region === 0) bytes[at] = state >>> 24;
    else if (region === 1) bytes[at] = "some text that repeats; ".charCodeAt(at % 24);
    else if (region === 2 && at % 9000 < 100) bytes[at] = 7;
  }
  return bytes;
}

interface MapEntry {
  readonly length: number;
  readonly zero: boolean;
  readonly data: boolean;
  readonly depth: number;
}

/** Without host offsets, which may differ; so what follows on and is alike is one entry. */
function merged(entries: readonly MapEntry[]): MapEntry[] {
  const result: MapEntry[] = [];
  for (const { length, zero, data, depth } of entries) {
    const last = result.at(-1);
    if (last && last.zero === zero && last.data === data && last.depth === depth)
      result[result.length - 1] = { ...last, length: last.length + length };
    else result.push({ length, zero, data, depth });
  }
  return result;
}

describe.skipIf(!hasQemu)("byre convert", () => {
  const twins = new Twins();
  const silent = { out() {}, err() {}, isTerminal: false };
  const ours = (name: string) => `${twins.byreFolder}/${name}`;
  const theirs = (name: string) => `${twins.qemuFolder}/${name}`;

  beforeAll(() => {
    twins.put("data.raw", mixedBytes(3 * MEBI + 70_144));
    twins.make("qemu-img", "convert", "-f", "raw", "-O", "qcow2", "@/data.raw", "@/plain.qcow2");
    twins.make("qemu-img", "convert", "-f", "raw", "-O", "qcow2", "-c", "@/data.raw", "@/zlib.qcow2");
    const zstd = ["-c", "-o", "compression_type=zstd"];
    twins.make("qemu-img", "convert", "-f", "raw", "-O", "qcow2", ...zstd, "@/data.raw", "@/zstd.qcow2");
    const small = ["-o", "cluster_size=4k,refcount_bits=64"];
    twins.make("qemu-img", "convert", "-f", "raw", "-O", "qcow2", ...small, "@/data.raw", "@/small.qcow2");
    const overlay = ["-b", "zlib.qcow2", "-F", "qcow2", "@/overlay.qcow2", "5M"];
    twins.make("qemu-img", "create", "-q", "-f", "qcow2", ...overlay);
    const writes = ["-c", "write -P 9 100k 300k", "-c", "write -z 1M 128k", "-c", "write -c 2M 64k"];
    twins.make("qemu-io", ...writes, "@/overlay.qcow2");
    const subclusters = ["-o", "extended_l2=on", "@/extended.qcow2", "4M"];
    twins.make("qemu-img", "create", "-q", "-f", "qcow2", ...subclusters);
    twins.make("qemu-io", "-c", "write -P 3 5k 70k", "-c", "write -z 100k 10k", "@/extended.qcow2");
    const secret = ["--object", "secret,id=s,data=geheim"];
    const encryption = ["-o", "encrypt.format=aes,encrypt.key-secret=s"];
    const opened = "driver=qcow2,encrypt.key-secret=s,file.filename=@/aes.qcow2";
    twins.make("qemu-img", "create", "-q", "-f", "qcow2", ...secret, ...encryption, "@/aes.qcow2", "2M");
    twins.make("qemu-io", ...secret, "-c", "write -P 5 64k 200k", "--image-opts", opened);
    twins.make("qemu-img", "snapshot", "-c", "before", "@/small.qcow2");
    twins.make("qemu-io", "-c", "write -P 0x55 0 1M", "-c", "discard 2M 512k", "@/small.qcow2");
  });
  afterAll(() => twins.close());

  /** Runs both; the outputs must have the same bytes, stored the same way, and be clean. */
  async function expectSame(words: readonly string[], outputFormat: "raw" | "qcow2"): Promise<void> {
    const about = words.join(" ");
    const made = twins.qemu("qemu-img", "convert", ...words, "@/out");
    expect(made.code, `qemu-img ${about}: ${made.err}`).toBe(0);
    const ended = await twins.byre("convert", ...words, "@/out");
    expect(ended.code, `byre ${about}: ${ended.err}`).toBe(0);
    expect(ended.out, about).toBe(made.out);
    const formats = ["-f", outputFormat, "-F", outputFormat];
    expect(qemu("qemu-img", ["compare", ...formats, theirs("out"), ours("out")]).out, about).toBe(
      "Images are identical.\n",
    );
    const map = (path: string) =>
      merged(JSON.parse(qemu("qemu-img", ["map", "--output=json", "-f", outputFormat, path]).out));
    expect(map(ours("out")), about).toEqual(map(theirs("out")));
    if (outputFormat === "qcow2") expect(qemu("qemu-img", ["check", ours("out")]).code, about).toBe(0);
  }

  const sources = ["plain", "zlib", "zstd", "small", "overlay", "extended"].map((name) => `@/${name}.qcow2`);

  it.each(sources)("copies %s to raw as qemu-img does", async (source) => {
    await expectSame([source], "raw");
  });

  it.each(sources)("copies %s to qcow2 as qemu-img does, plain and compressed", async (source) => {
    await expectSame(["-O", "qcow2", source], "qcow2");
    await expectSame(["-O", "qcow2", "-c", source], "qcow2");
  });

  it.each([
    ["cluster_size=512"],
    ["cluster_size=2M,compat=0.10"],
    ["refcount_bits=1"],
    ["extended_l2=on"],
    ["preallocation=metadata"],
    ["preallocation=full"],
    ["lazy_refcounts=on"],
  ])("makes an image with -o %s as qemu-img does", async (option) => {
    await expectSame(["-f", "raw", "-O", "qcow2", "-o", option, "@/data.raw"], "qcow2");
  });

  it.each([["cluster_size=1k,refcount_bits=8"], ["compression_type=zstd"], ["cluster_size=2M"]])(
    "compresses with -o %s as qemu-img does",
    async (option) => {
      await expectSame(["-c", "-f", "raw", "-O", "qcow2", "-o", option, "@/data.raw"], "qcow2");
    },
  );

  it.each(["0", "512", "64k"])("takes zeros for holes as -S %s says", async (size) => {
    await expectSame(["-S", size, "-f", "raw", "@/data.raw"], "raw");
    await expectSame(["-S", size, "-f", "raw", "-O", "qcow2", "@/data.raw"], "qcow2");
  });

  it("copies only what an overlay has itself when the copy has the same image behind it", async () => {
    await expectSame(["-O", "qcow2", "-B", "zlib.qcow2", "-F", "qcow2", "@/overlay.qcow2"], "qcow2");
    await expectSame(["-c", "-O", "qcow2", "-B", "zlib.qcow2", "-F", "qcow2", "@/overlay.qcow2"], "qcow2");
  });

  it("puts several images one after the other", async () => {
    await expectSame(["@/plain.qcow2", "@/extended.qcow2", "@/zlib.qcow2"], "raw");
    await expectSame(["-c", "-O", "qcow2", "@/plain.qcow2", "@/extended.qcow2"], "qcow2");
  });

  it("copies an internal snapshot", async () => {
    await expectSame(["-l", "before", "@/small.qcow2"], "raw");
    await expectSame(["-l", "snapshot.name=before", "-O", "qcow2", "@/small.qcow2"], "qcow2");
  });

  it("reads an encrypted image with its password, and makes one", async () => {
    const secret = ["--object", "secret,id=s,data=geheim"];
    const source = "driver=qcow2,encrypt.key-secret=s,file.filename=@/aes.qcow2";
    await expectSame([...secret, "--image-opts", source], "raw");
    const words = [...secret, "-f", "raw", "-O", "qcow2", "-o", "encrypt.format=aes,encrypt.key-secret=s"];
    const ended = await twins.byre("convert", ...words, "@/data.raw", "@/out");
    expect(ended.err).toBe("");
    const opened = `driver=qcow2,encrypt.key-secret=s,file.filename=${ours("out")}`;
    const compared = [
      "compare",
      ...secret,
      "--image-opts",
      opened,
      `driver=raw,file.filename=${ours("data.raw")}`,
    ];
    expect(qemu("qemu-img", compared).out).toMatch(/Images are identical/);
  });

  it("writes into an image that is there with -n", async () => {
    for (const folder of [twins.qemuFolder, twins.byreFolder]) {
      qemu("qemu-img", ["create", "-q", "-f", "qcow2", `${folder}/out`, "4M"]);
      qemu("qemu-io", ["-c", "write -P 0xee 0 4M", `${folder}/out`]);
    }
    await expectSame(["-n", "-f", "raw", "-O", "qcow2", "@/data.raw"], "qcow2");
    for (const folder of [twins.qemuFolder, twins.byreFolder])
      writeFileSync(`${folder}/out`, new Uint8Array(4 * MEBI).fill(0xee));
    const made = twins.qemu("qemu-img", "convert", "-n", "@/zlib.qcow2", "@/out");
    expect((await twins.byre("convert", "-n", "@/zlib.qcow2", "@/out")).code).toBe(made.code);
    expect(readFileSync(ours("out")).equals(readFileSync(theirs("out")))).toBe(true);
  });

  it("overwrites an output that exists, longer or not", async () => {
    for (const folder of [twins.qemuFolder, twins.byreFolder])
      writeFileSync(`${folder}/out`, new Uint8Array(9 * MEBI).fill(0xee));
    await expectSame(["@/zlib.qcow2"], "raw");
    await expectSame(["-O", "qcow2", "@/zlib.qcow2"], "qcow2");
  });

  it.each([
    [["-c", "@/plain.qcow2", "@/new"]],
    [["-O", "nonsense", "@/plain.qcow2", "@/new"]],
    [["@/missing.qcow2", "@/new"]],
    [["@/plain.qcow2"]],
    [["-S", "100", "@/plain.qcow2", "@/new"]],
    [["-B", "zlib.qcow2", "-O", "qcow2", "@/overlay.qcow2", "@/new"]],
    [["-m", "17", "@/plain.qcow2", "@/new"]],
    [["--target-is-zero", "@/plain.qcow2", "@/new"]],
    [["-n", "-o", "size=1M", "@/plain.qcow2", "@/new"]],
    [["-c", "-O", "qcow2", "-o", "preallocation=full", "@/plain.qcow2", "@/new"]],
    [["-l", "nothing", "@/small.qcow2", "@/new"]],
    [["-O", "qcow2", "-o", "cluster_size=3k", "@/plain.qcow2", "@/new"]],
    [["-n", "@/plain.qcow2", "@/missing-target"]],
    [["-t", "sometimes", "@/plain.qcow2", "@/new"]],
  ])("refuses %j as qemu-img does, and makes nothing", async (words) => {
    await twins.expectSame(["convert", ...words]);
    expect(existsSync(ours("new"))).toBe(false);
  });

  it("does not overwrite what it reads", async () => {
    const before = readFileSync(ours("zlib.qcow2"));
    expect((await twins.byre("convert", "-O", "qcow2", "@/overlay.qcow2", "@/zlib.qcow2")).code).toBe(1);
    expect(readFileSync(ours("zlib.qcow2")).equals(before)).toBe(true);
  });

  it("makes the same file with threads, without them and through the device", async () => {
    for (const [name, options] of [
      ["extended", {}],
      ["overlay", { outputFormat: "qcow2", compress: true }],
      ["zstd", { outputFormat: "qcow2" }],
    ] as const) {
      const files = [ours(`${name}.qcow2`), ours("out")];
      const results: Buffer[] = [];
      for (const tuning of [{ threads: 0 }, { threads: 2 }, { threads: 0, throughDevice: true }]) {
        await convert(files, options, silent, tuning);
        results.push(readFileSync(ours("out")));
      }
      expect(results[1]?.equals(results[0] ?? Buffer.alloc(0)), name).toBe(true);
      expect(results[2]?.equals(results[0] ?? Buffer.alloc(0)), name).toBe(true);
    }
  }, 90_000);

  it("says which cluster of a damaged image cannot be unpacked, also from a thread", async () => {
    const bytes = readFileSync(ours("zlib.qcow2"));
    writeFileSync(ours("damaged.qcow2"), bytes.fill(0xff, 0x50000, 0x50400));
    for (const threads of [0, 2]) {
      const converted = convert([ours("damaged.qcow2"), ours("out")], {}, silent, { threads });
      await expect(converted).rejects.toMatchObject({ code: "CORRUPT" });
    }
  }, 90_000);

  it("goes on past damage with --salvage", async () => {
    const ended = await twins.byre("convert", "--salvage", "@/damaged.qcow2", "@/out");
    expect(ended.code).toBe(0);
    expect(ended.err).toMatch(/warning: error while reading offset 0:/);
    const whole = readFileSync(ours("data.raw"));
    expect(readFileSync(ours("out")).subarray(MEBI, whole.length).equals(whole.subarray(MEBI))).toBe(true);
  });

  it("reads what a file lacks at its end as an error, not as zeros", async () => {
    copyFileSync(ours("zlib.qcow2"), ours("cut.qcow2"));
    truncateSync(ours("cut.qcow2"), 0x60000);
    expect((await twins.byre("convert", "@/cut.qcow2", "@/out")).code).toBe(1);
  });
});
