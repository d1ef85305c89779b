import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openNodeFile } from "../files/node-file.ts";
import { createQcow2 } from "../qcow2/create.ts";
import { openQcow2 } from "../qcow2/open.ts";
import { hasQemu } from "../testing/qemu.ts";
import { qemu, Twins } from "./testing/twins.ts";

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
    const state = new Uint8Array(300_000).map((_, at) => (at > 100_000 && at < 180_000 ? 0 : at % 251));
    const open = async (name: string) => openQcow2(await openNodeFile(ours(name), { writable: true }));
    await createImage(ours("vm.qcow2"), 2 * 2 ** 20);
    const device = await open("vm.qcow2");
    await device.write(65536, new Uint8Array(65536).fill(1));
    await device.writeVmState(0, state);
    await device.createSnapshot({ name: "running", vmStateBytes: state.length });
    await device.close();
    const ended = await twins.byre("convert", "--with-snapshots", "-O", "qcow2", "@/vm.qcow2", "@/out.qcow2");
    expect(ended).toMatchObject({ code: 0, err: "" });
    image("check", ours("out.qcow2"));
    image("compare", ours("vm.qcow2"), ours("out.qcow2"));
    const copy = await open("out.qcow2");
    const view = await copy.openSnapshot("running");
    const present = new Uint8Array(state.length);
    await view.readVmState(0, present);
    await view.close();
    await copy.close();
    expect(Buffer.from(present).equals(state)).toBe(true);
  });

  it("shares the clusters that snapshots share", async () => {
    await twins.byre("convert", "--with-snapshots", "-O", "qcow2", "@/disk.qcow2", "@/out.qcow2");
    // Of 3 MiB the last state has 2.75 MiB of its own kind, and 1.5 MiB are of earlier ones.
    expect(readFileSync(ours("out.qcow2")).length).toBeLessThan(7 * 1024 * 1024);
  });

  it("refuses to carry snapshots where they cannot go", async () => {
    for (const words of [
      ["--with-snapshots", "@/disk.qcow2", "@/out.raw"],
      ["--with-snapshots", "-O", "qcow2", "-l", "one", "@/disk.qcow2", "@/out.qcow2"],
    ])
      expect((await twins.byre("convert", ...words)).code).toBe(1);
  });
});
