import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { hasQemu } from "../testing/qemu.ts";
import { byre, Twins } from "./testing/twins.ts";

describe.skipIf(!hasQemu)("byre info, as qemu-img info", () => {
  let twins: Twins;
  beforeAll(() => {
    twins = new Twins();
    const make = (...words: string[]) => twins.make("qemu-img", ...words);
    const secret = ["--object", "secret,id=s,data=pw"];
    make("create", "-f", "qcow2", "@/plain.qcow2", "10M");
    make("snapshot", "-c", "first", "@/plain.qcow2");
    make("snapshot", "-c", "a name that is longer than its column", "@/plain.qcow2");
    make("bitmap", "--add", "@/plain.qcow2", "bitmap0");
    make("bitmap", "--add", "-g", "32k", "--disable", "@/plain.qcow2", "bitmap1");
    make("create", "-f", "qcow2", "-o", "compat=0.10", "@/old.qcow2", "1G");
    make(
      "create",
      "-f",
      "qcow2",
      "-o",
      "lazy_refcounts=on,extended_l2=on,compression_type=zstd",
      "@/new.qcow2",
      "3T",
    );
    make("create", "-f", "qcow2", "-o", "cluster_size=512,refcount_bits=1", "@/small.qcow2", "1000k");
    make("create", "-f", "qcow2", "-o", "cluster_size=2M,refcount_bits=64", "@/large.qcow2", "0");
    make("create", "-f", "qcow2", "-b", "plain.qcow2", "-F", "qcow2", "@/overlay.qcow2");
    make("create", "-f", "qcow2", "-b", "overlay.qcow2", "-F", "qcow2", "@/top.qcow2", "20M");
    make("create", "-f", "qcow2", "-u", "-F", "raw", "-b", "nowhere.raw", "@/orphan.qcow2", "20M");
    make("create", "-f", "qcow2", "-o", "data_file=@/data.raw", "@/external.qcow2", "1M");
    make(
      "create",
      "-f",
      "qcow2",
      ...secret,
      "-o",
      "encrypt.format=aes,encrypt.key-secret=s",
      "@/aes.qcow2",
      "1M",
    );
    make("create", "-f", "raw", "@/disk.raw", "1000001");
    twins.put("odd.raw", new Uint8Array(1000).fill(7));
    twins.put("empty", "");
    twins.put("text", "not an image at all");
  }, 60_000);
  afterAll(() => twins.close());

  const images = [
    "plain.qcow2",
    "old.qcow2",
    "new.qcow2",
    "small.qcow2",
    "large.qcow2",
    "overlay.qcow2",
    "orphan.qcow2",
    "aes.qcow2",
    "disk.raw",
    "odd.raw",
    "empty",
    "text",
  ];
  // Copying may lay a file out anew on its disk.
  const exceptSize = [/disk size: .*/g];

  for (const image of images) {
    it(`prints ${image} alike`, async () => {
      await twins.expectSame(["info", `@/${image}`], { except: exceptSize });
    });
    it(`prints ${image} alike as JSON`, async () => {
      const json = { exceptKeys: ["actual-size"] };
      await twins.expectSame(["info", "--output=json", `@/${image}`], { json });
    });
  }

  it("prints a chain alike", async () => {
    await twins.expectSame(["info", "--backing-chain", "@/overlay.qcow2"], { except: exceptSize });
    const json = { exceptKeys: ["actual-size"] };
    await twins.expectSame(["info", "--backing-chain", "--output", "json", "@/overlay.qcow2"], { json });
  });

  it("takes QEMU's other ways to name an image", async () => {
    for (const words of [
      ["--image-opts", "driver=qcow2,file.filename=@/plain.qcow2"],
      ["--image-opts", "file.driver=file,file.filename=@/plain.qcow2"],
      ['json:{"driver":"qcow2","file":{"driver":"file","filename":"@/plain.qcow2"}}'],
      ['json:{"file.filename":"@/plain.qcow2"}'],
      ["-f", "raw", "@/plain.qcow2"],
      ["-f", "qcow2", "-U", "@/plain.qcow2"],
      ["--object", "secret,id=s,data=pw", "@/aes.qcow2"],
      ["@/plain.qcow2", "--output", "human"],
      ["--out=human", "--force", "@/plain.qcow2"],
    ])
      await twins.expectSame(["info", ...words], { except: exceptSize });
    // `file:` stays in QEMU's name only where a folder follows it.
    await twins.expectSame(["info", "file:@/plain.qcow2"], { except: [...exceptSize, /image: .*/] });
  });

  it("reports the window of a raw file", async () => {
    const except = [...exceptSize, /image: .*/];
    for (const window of ["offset=512", "offset=1k,size=512", "size=1k"])
      await twins.expectSame(["info", "--image-opts", `driver=raw,${window},file.filename=@/disk.raw`], {
        except,
      });
  });

  for (const [what, words] of Object.entries({
    "a missing file": ["@/missing"],
    "a directory": ["@/"],
    "no file": [],
    "two files": ["@/plain.qcow2", "@/old.qcow2"],
    "an unknown option": ["--frobnicate", "@/plain.qcow2"],
    "an unknown format": ["-f", "nonsense", "@/plain.qcow2"],
    "the wrong format": ["-f", "qcow2", "@/disk.raw"],
    "an unknown output": ["--output=xml", "@/plain.qcow2"],
    "an unknown protocol": ["gopher:disk.qcow2"],
    "bad JSON": ["json:{bad"],
    "JSON without a file": ['json:{"driver":"qcow2"}'],
    "an unknown image option": ["--image-opts", "driver=qcow2,file.filename=@/plain.qcow2,colour=red"],
    "image options and a format": ["-f", "qcow2", "--image-opts", "file.filename=@/plain.qcow2"],
    "a window past the end": ["--image-opts", "driver=raw,offset=9M,file.filename=@/disk.raw"],
    "a size that is no sector's": ["--image-opts", "driver=raw,size=100,file.filename=@/disk.raw"],
    "an object without an id": ["--object", "secret,data=x", "@/plain.qcow2"],
    "a secret with nothing in it": ["--object", "secret,id=x", "@/plain.qcow2"],
    "a broken chain": ["--backing-chain", "@/orphan.qcow2"],
  }))
    it(`fails alike on ${what}`, async () => {
      await twins.expectSame(["info", ...words]);
    });

  it.each([
    "nbd://host/disk",
    'json:{"driver":"null-co"}',
    "json:{bad",
    "/absolute/base",
    "./relative",
    "../up",
    "a b",
    "file:relative",
    "http://host/base.qcow2",
    "gopher:base",
  ])("prints the backing file name %s alike, and does not open it", async (name) => {
    mkdirSync(join(twins.qemuFolder, "folder"), { recursive: true });
    const path = "@/folder/named.qcow2";
    twins.make("qemu-img", "create", "-f", "qcow2", path, "1M");
    twins.make("qemu-img", "rebase", "-u", "-b", name, "-F", "qcow2", path);
    await twins.expectSame(["info", path], { except: exceptSize });
    await twins.expectSame(["info", "--output=json", path], { json: { exceptKeys: ["actual-size"] } });
  });

  it.each([
    ["an unknown incompatible feature", 72, 0x80],
    ["an unknown compatible feature", 80, 0x80],
    ["an unknown autoclear feature", 88, 0x80],
    ["the dirty bit", 79, 1],
    ["the corrupt bit", 79, 2],
    ["an unknown version", 7, 4],
    ["clusters too large", 23, 22],
    ["a header too short", 103, 96],
    ["an impossible refcount width", 99, 7],
    ["a compression type without its bit", 104, 1],
    ["an unknown encryption", 35, 3],
    ["no L1 table", 39, 0],
  ])("reports or refuses %s as QEMU does", async (_, offset, value) => {
    const bytes = readFileSync(join(twins.qemuFolder, "large.qcow2"));
    bytes[offset] = value;
    twins.put("damaged.qcow2", bytes);
    await twins.expectSame(["info", "-f", "qcow2", "@/damaged.qcow2"], { except: exceptSize });
  });

  it("opens nothing that an image names", async () => {
    const { code, out } = await twins.byre("info", "@/external.qcow2");
    expect(code).toBe(0);
    expect(out).toContain("data file: ");
  });
});

describe("byre info", () => {
  it("has help with examples and exit codes", async () => {
    const { code, out } = await byre("info", "--help");
    expect(code).toBe(0);
    expect(out).toContain("Exit codes:");
    expect(out).toContain("byre info disk.qcow2");
  });
});
