import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openNodeFile } from "../files/node-file.ts";
import { createQcow2 } from "../qcow2/create.ts";
import { openQcow2 } from "../qcow2/open.ts";
import { make2008Image } from "../testing/make-2008-image.ts";
import { hasQemu } from "../testing/qemu.ts";
import { qemu, Twins } from "./testing/twins.ts";

/** Bytes that hardly compress, the same at every run. */
function state(lengthBytes: number): Uint8Array {
  let value = 1;
  return new Uint8Array(lengthBytes).map(() => {
    value = (Math.imul(value, 1103515245) + 12345) >>> 0;
    return value >>> 24;
  });
}

async function createImage(path: string, sizeBytes: number): Promise<void> {
  const file = await openNodeFile(path, { create: true });
  await createQcow2(file, { sizeBytes });
  await file.close();
}

describe.skipIf(!hasQemu)("what byre convert carries and qemu-img loses", () => {
  const twins = new Twins();
  const ours = (name: string) => `${twins.byreFolder}/${name}`;
  const image = (...words: string[]) => {
    const ended = qemu("qemu-img", words);
    expect(ended.code, `qemu-img ${words.join(" ")}: ${ended.err}`).toBe(0);
    return ended.out;
  };

  beforeAll(async () => {
    twins.make("qemu-img", "create", "-q", "-f", "qcow2", "@/base.qcow2", "3M");
    twins.make("qemu-io", "-c", "write -P 1 0 3M", "@/base.qcow2");
    const behind = ["-b", "base.qcow2", "-F", "qcow2", "@/disk.qcow2", "4M"];
    twins.make("qemu-img", "create", "-q", "-f", "qcow2", ...behind);
    twins.make("qemu-io", "-c", "write -P 2 0 1M", "@/disk.qcow2");
    twins.make("qemu-img", "snapshot", "-c", "one", "@/disk.qcow2");
    twins.make("qemu-io", "-c", "write -P 3 512k 1M", "-c", "write -z 2M 64k", "@/disk.qcow2");
    twins.make("qemu-img", "snapshot", "-c", "two", "@/disk.qcow2");
    twins.make("qemu-img", "resize", "-q", "@/disk.qcow2", "6M");
    twins.make("qemu-io", "-c", "write -P 4 5M 1M", "-c", "discard 0 256k", "@/disk.qcow2");
    const set = await twins.byre("meta", "set", "@/disk.qcow2", "appliance.name=Byre", "machine.memory=64");
    expect(set.err).toBe("");
  });
  afterAll(() => twins.close());

  it("keeps the image's metadata", async () => {
    for (const options of [[], ["-c"], ["-o", "cluster_size=4k"], ["-o", "extended_l2=on"]]) {
      await twins.byre("convert", "-O", "qcow2", ...options, "@/disk.qcow2", "@/out.qcow2");
      const listed = await twins.byre("meta", "export", "@/out.qcow2");
      expect(JSON.parse(listed.out), options.join(" ")).toEqual({
        "appliance.name": "Byre",
        "machine.memory": "64",
      });
      image("check", ours("out.qcow2"));
    }
  });

  it.each([[[]], [["-c"]], [["-c", "-o", "compression_type=zstd"]], [["-o", "cluster_size=8k"]]])(
    "recreates snapshots with %j: their disks, sizes, names and times",
    async (options) => {
      const words = ["convert", "--with-snapshots", "-O", "qcow2", ...options, "@/disk.qcow2", "@/out.qcow2"];
      const ended = await twins.byre(...words);
      expect(ended).toMatchObject({ code: 0, err: "" });
      image("check", ours("out.qcow2"));
      image("compare", "-f", "qcow2", "-F", "qcow2", ours("disk.qcow2"), ours("out.qcow2"));
      for (const name of ["one", "two"]) {
        image("convert", "-l", name, ours("disk.qcow2"), ours("expected.raw"));
        image("convert", "-l", name, ours("out.qcow2"), ours("present.raw"));
        expect(readFileSync(ours("present.raw")).equals(readFileSync(ours("expected.raw"))), name).toBe(true);
      }
      const list = (name: string) =>
        (
          JSON.parse(image("info", "--output=json", ours(name))) as { snapshots: { icount?: number }[] }
        ).snapshots.map(({ icount, ...rest }) => rest);
      expect(list("out.qcow2")).toEqual(list("disk.qcow2"));
    },
  );

  it("copies the machine's state in a snapshot", async () => {
    const memory = state(300_000).fill(0, 100_000, 180_000);
    const open = async (name: string) => openQcow2(await openNodeFile(ours(name), { writable: true }));
    await createImage(ours("vm.qcow2"), 2 * 2 ** 20);
    const device = await open("vm.qcow2");
    await device.write(65536, new Uint8Array(65536).fill(1));
    await device.writeVmState(0, memory);
    await device.createSnapshot({ name: "running", vmStateBytes: memory.length });
    await device.close();
    const ended = await twins.byre("convert", "--with-snapshots", "-O", "qcow2", "@/vm.qcow2", "@/out.qcow2");
    expect(ended).toMatchObject({ code: 0, err: "" });
    image("check", ours("out.qcow2"));
    image("compare", ours("vm.qcow2"), ours("out.qcow2"));
    const copy = await open("out.qcow2");
    const view = await copy.openSnapshot("running");
    const present = new Uint8Array(memory.length);
    await view.readVmState(0, present);
    await view.close();
    await copy.close();
    expect(Buffer.from(present).equals(memory)).toBe(true);
  });

  it("shares the clusters that snapshots share", async () => {
    await twins.byre("convert", "--with-snapshots", "-O", "qcow2", "@/disk.qcow2", "@/out.qcow2");
    // Of 3 MiB the last state has 2.75 MiB of its own kind, and 1.5 MiB are of earlier ones.
    expect(readFileSync(ours("out.qcow2")).length).toBeLessThan(7 * 1024 * 1024);
  });

  it("refuses to lose metadata that has no room in the new header", async () => {
    await twins.byre("meta", "set", "@/disk.qcow2", `appliance.license=${[...state(3000)].join("-")}`);
    for (const option of ["cluster_size=512", "cluster_size=4k"]) {
      const ended = await twins.byre("convert", "-O", "qcow2", "-o", option, "@/disk.qcow2", "@/none.qcow2");
      expect(ended.err).toMatch(/does not fit into the header/);
      expect(existsSync(ours("none.qcow2"))).toBe(false);
    }
  });

  it("migrates a 2008 image: its disk, and what it says of itself", async () => {
    const data = state(9000);
    const entries = ["Author:Someone", "Backing-File:base.raw", "Some Key:a: value"];
    const options = { sizeBytes: 2 ** 20, entries, data };
    writeFileSync(ours("old.qcow3"), await make2008Image(options));
    const base = new Uint8Array(2 ** 20).fill(7);
    writeFileSync(ours("base.raw"), base);
    const ended = await twins.byre(
      "convert",
      "-f",
      "qcow3-2008",
      "-O",
      "qcow2",
      "@/old.qcow3",
      "@/out.qcow2",
    );
    expect(ended).toMatchObject({ code: 0, err: "" });
    expect(JSON.parse((await twins.byre("meta", "export", "@/out.qcow2")).out)).toEqual({
      author: "Someone",
      "some-key": "a: value",
    });
    image("check", ours("out.qcow2"));
    image("convert", ours("out.qcow2"), ours("out.raw"));
    base.set(data);
    const present = readFileSync(ours("out.raw"));
    expect(present.subarray(0, data.length).equals(data)).toBe(true);
    expect(present.subarray(16384).equals(base.subarray(16384))).toBe(true);
    expect((await twins.byre("convert", "-O", "qcow2", "@/old.qcow3", "@/out.qcow2")).code).toBe(1);
  });

  it("refuses to carry snapshots where they cannot go", async () => {
    for (const words of [
      ["--with-snapshots", "@/disk.qcow2", "@/out.raw"],
      ["--with-snapshots", "-O", "qcow2", "-l", "one", "@/disk.qcow2", "@/out.qcow2"],
    ])
      expect((await twins.byre("convert", ...words)).code).toBe(1);
  });
});
