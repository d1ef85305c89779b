import { spawnSync } from "node:child_process";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { openNodeFile } from "../files/node-file.ts";
import { asQemuJson, qemuCheck } from "../testing/check-differ.ts";
import { DamageBench, NewImage } from "../testing/damage-bench.ts";
import { hasQemu, qemuImg, qemuIo } from "../testing/qemu.ts";
import { checkQcow2 } from "./check.ts";
import { repairDirty } from "./repair.ts";

describe.skipIf(!hasQemu)("a check", () => {
  let bench: DamageBench;
  beforeEach(() => {
    bench = new DamageBench();
  });
  afterEach(() => bench.remove());

  const checked = async (options: Parameters<typeof checkQcow2>[1] = {}) => {
    const file = await openNodeFile(bench.image, { writable: options.repair !== undefined });
    try {
      return await checkQcow2(file, options);
    } finally {
      await file.close();
    }
  };

  test.each(["luks", "aes"])(
    "needs no password for an image encrypted with %s, and counts it all",
    async (format) => {
      const secret = ["--object", "secret,id=s,data=geheim"];
      const options = `encrypt.format=${format},encrypt.key-secret=s${format === "luks" ? ",encrypt.iter-time=100" : ""}`;
      createEncrypted("create", "-q", "-f", "qcow2", ...secret, "-o", options, bench.image, "1M");
      const opened = `driver=qcow2,encrypt.key-secret=s,file.filename=${bench.image}`;
      const write = ["--image-opts", ...secret, "-c", "write 0 128k", opened];
      // Each opening of LUKS takes seconds; its header's clusters are there without data too.
      if (format === "aes") expect(spawnSync("qemu-io", write).status).toBe(0);
      const run = spawnSync("qemu-img", ["check", "--output=json", ...secret, "--image-opts", opened], {
        encoding: "utf8",
      });
      const { filename: _, format: __, ...theirs } = JSON.parse(run.stdout) as Record<string, unknown>;
      expect(asQemuJson(await checked())).toEqual(theirs);
    },
    120_000,
  );

  test("of an image with a backing file asks for none", async () => {
    qemuImg("create", "-q", "-f", "qcow2", "-u", "-b", "/nowhere/base", "-F", "qcow2", bench.image, "1M");
    expect(await checked()).toMatchObject({ corruptions: 0, leaks: 0, checkErrors: 0 });
  });

  test("tells how far it is, and what it repaired before it looks again", async () => {
    bench.create("64M");
    qemuIo(bench.image, ["write 0 64k"]);
    bench.poke(NewImage.REFCOUNT_BLOCK + 10, 3);
    const fractions: number[] = [];
    const fixed: object[] = [];
    await checked({
      repair: "all",
      onProgress: (fraction) => fractions.push(fraction),
      onRepaired: (what) => fixed.push(what),
    });
    expect(fractions.at(-1)).toBe(1);
    expect(fractions).toEqual([...fractions].sort());
    expect(fixed).toEqual([{ corruptionsFixed: 0, leaksFixed: 1 }]);
  });

  test("does not repair a file that cannot be written", async () => {
    bench.create("1M");
    const file = await openNodeFile(bench.image);
    await expect(checkQcow2(file, { repair: "leaks" })).rejects.toMatchObject({ code: "READ_ONLY" });
    await file.close();
  });

  test("with -r clears autoclear bits that are not known, and keeps bitmaps and snapshots", async () => {
    bench.create("4M", "cluster_size=4k");
    qemuImg("snapshot", "-c", "one", bench.image);
    qemuImg("bitmap", "--add", bench.image, "map");
    bench.poke(88, (1n << 60n) | 1n);
    bench.poke(bench.peek64(bench.peek64(48)) + 2 * 100, 1);
    await checked({ repair: "leaks" });
    expect(bench.peek64(88)).toBe(1);
    // QEMU 7.2's own repair loses the snapshots of an image with bitmaps.
    expect(qemuImg("snapshot", "-l", bench.image)).toContain("one");
    expect(qemuImg("info", bench.image)).toContain("name: map");
    bench.check("image.qcow2");
  });

  test("leaves the dirty and the corrupt bit while errors are left, and clears both without", async () => {
    bench.create("64M");
    qemuIo(bench.image, ["write 0 64k"]);
    bench.poke(72, 3n);
    bench.poke(NewImage.L2, (1n << 63n) | 0x52a00n);
    expect((await checked({ repair: "all" })).corruptions).toBeGreaterThan(0);
    expect(bench.features).toBe(3);
    bench.poke(NewImage.L2, 0n);
    await checked({ repair: "all" });
    expect(bench.features).toBe(0);
    bench.check("image.qcow2");
  });

  test("before the first write makes an image with lazy refcounts consistent", async () => {
    bench.create("64M", "lazy_refcounts=on");
    // The process ends with refcounts that were never written.
    spawnSync("qemu-io", ["-c", "write -P 5 0 256k", "-c", "sigraise 9", bench.image]);
    expect(bench.features).toBe(1);
    expect(qemuCheck(bench.image).exitCode).toBe(2);
    const file = await openNodeFile(bench.image, { writable: true });
    await repairDirty(file);
    await file.close();
    expect(bench.features).toBe(0);
    bench.check("image.qcow2");
    qemuIo(bench.image, ["read -P 5 0 256k"]);
  });
});

/** For LUKS qemu-img measures the processor, which a busy machine may not give it; then it says so and can be asked again. */
function createEncrypted(...words: string[]): void {
  for (let left = 20; ; left--) {
    try {
      qemuImg(...words);
      return;
    } catch (error) {
      if (left === 0 || !String(error).includes("accurate CPU usage")) throw error;
    }
  }
}
