import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createMemoryFile } from "../../files/memory-file.ts";
import { Bench, hasQemu, qemuImg, qemuIo } from "../../testing/qemu.ts";
import { createQcow2 } from "../create.ts";
import { openQcow2 } from "../open.ts";
import type { Qcow2Device } from "../qcow2-device.ts";

const KIB = 1024;
/** 33 clusters of 64 KiB, the last one cut inside a subcluster. */
const SIZE_BYTES = 2083 * KIB;
const CLUSTER_BYTES = 64 * KIB;

type Step = readonly [
  command: "write" | "zero" | "unmap" | "discard" | "compress",
  at: number,
  length: number,
];

/** In subclusters of 2 KiB: cluster, subcluster, KiB inside it, length in KiB. */
function step(command: Step[0], cluster: number, subcluster: number, inKib: number, kib: number): Step {
  return [command, cluster * CLUSTER_BYTES + (subcluster * 2 + inKib) * KIB, kib * KIB];
}

/** One list of steps for each thing the iotest looks at. */
const CASES: Record<string, Step[]> = {
  "writes at every place of a subcluster": [
    step("write", 0, 0, 0, 1),
    step("write", 0, 1, 1, 0.5),
    step("write", 0, 2, 1, 1),
    step("write", 0, 3, 0, 2),
    step("write", 0, 4, 0, 6),
    step("write", 0, 7, 1, 4),
    step("write", 0, 16, 0, 1),
    step("write", 0, 31, 1, 4),
  ],
  "zeros in and over written subclusters, and writes into zeros": [
    step("write", 0, 0, 0, 20),
    step("zero", 0, 1, 0, 2),
    step("zero", 0, 0, 0, 64),
    step("write", 0, 0, 0, 64),
    step("unmap", 0, 0, 0, 32),
    step("unmap", 0, 0, 0, 64),
    step("write", 0, 1, 1, 0.5),
    step("write", 0, 0, 0, 64),
    step("discard", 0, 0, 0, 64),
    step("compress", 0, 0, 0, 64),
    step("write", 0, 1, 1, 0.5),
  ],
  "one write over clusters of which only some change": [
    step("write", 0, 12, 0, 40),
    step("write", 1, 13, 0, 2),
    step("write", 2, 14, 0, 2),
    step("zero", 2, 14, 0, 2),
    step("write", 3, 0, 0, 34),
    step("write", 0, 12, 0, 192),
  ],
  "zeros over unallocated clusters": [
    step("zero", 0, 0, 0, 192),
    step("zero", 3, 16, 0, 128),
    step("zero", 6, 15, 1, 128),
  ],
  "zeros over allocated clusters": [
    step("write", 9, 0, 0, 576),
    step("zero", 9, 0, 0, 192),
    step("zero", 12, 16, 0, 128),
    step("zero", 15, 15, 1, 128),
  ],
  "zeros and unmap over allocated clusters": [
    step("write", 9, 0, 0, 576),
    step("unmap", 9, 0, 0, 192),
    step("unmap", 12, 16, 0, 128),
    step("unmap", 15, 15, 1, 128),
  ],
  "zeros over whole compressed clusters, and into one": [
    ...Array.from({ length: 5 }, (_, i) => step("compress", 18 + i, 0, 0, 64)),
    step("zero", 18, 0, 0, 128),
    step("unmap", 20, 0, 0, 64),
    step("zero", 21, 16, 0, 8),
    step("unmap", 22, 3, 1, 4),
  ],
  "zeros inside a cluster, and to the end of the disk": [
    step("zero", 30, 15, 1, 8),
    step("zero", 32, 0, 0, 35),
    step("write", 32, 17, 0, 0.5),
    step("unmap", 32, 0, 0, 35),
  ],
  "discards of whole clusters and parts": [
    step("compress", 2, 0, 0, 64),
    step("write", 0, 0, 0, 128),
    step("write", 3, 0, 0, 64),
    step("zero", 1, 0, 0, 64),
    step("discard", 0, 0, 0, 192),
    step("discard", 3, 4, 0, 8),
    step("write", 1, 3, 0, 4),
    step("discard", 1, 0, 0, 64),
    step("discard", 32, 0, 0, 35),
  ],
};

/** The bit sets of every entry: host offsets may differ, what is stored where may not. */
function bitmapsOf(bytes: Uint8Array): string[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const l1 = Number(view.getBigUint64(40));
  const l2 = Number(view.getBigUint64(l1) & 0x00ff_ffff_ffff_fe00n);
  return Array.from({ length: 33 }, (_, i) => {
    const at = l2 + i * 16;
    const compressed = (view.getUint32(at) & 0x40000000) !== 0 ? "compressed " : "";
    return `${i}: ${compressed}${view.getBigUint64(at + 8).toString(16)}`;
  });
}

describe.skipIf(!hasQemu)("extended L2 entries (iotest 271)", () => {
  let bench: Bench;
  beforeAll(() => {
    bench = new Bench();
    bench.put("base.raw", new Uint8Array(SIZE_BYTES).fill(0xff));
  });
  afterAll(() => bench.remove());

  async function doHere(device: Qcow2Device, [command, at, length]: Step, value: number): Promise<void> {
    if (command === "write") await device.write(at, new Uint8Array(length).fill(value));
    else if (command === "compress") await device.writeCompressed(at, new Uint8Array(length).fill(value));
    else if (command === "discard") await device.discard(at, length);
    else await device.writeZeroes(at, length, { unmap: command === "unmap" });
  }

  function inQemuIo([command, at, length]: Step, value: number): string {
    if (command === "write") return `write -P ${value} ${at} ${length}`;
    if (command === "compress") return `write -c -P ${value} ${at} ${length}`;
    if (command === "discard") return `discard ${at} ${length}`;
    return `write -z ${command === "unmap" ? "-u " : ""}${at} ${length}`;
  }

  describe.each([true, false])("with a backing file: %s", (backed) => {
    test.each(Object.entries(CASES))("%s", async (_name, steps) => {
      const there = bench.path("there.qcow2");
      const behind = backed ? `,backing_file=${bench.path("base.raw")},backing_fmt=raw` : "";
      qemuImg("create", "-q", "-f", "qcow2", "-o", `extended_l2=on${behind}`, there, String(SIZE_BYTES));
      const file = createMemoryFile({ name: "here.qcow2" });
      await createQcow2(file, {
        sizeBytes: SIZE_BYTES,
        extendedL2: true,
        ...(backed && { backing: { name: "base.raw", format: "raw" } }),
      });
      const device = await openQcow2(file, {
        resolveBacking: async () => createMemoryFile({ content: bench.bytes("base.raw"), writable: false }),
      });
      for (const [i, one] of steps.entries()) {
        await doHere(device, one, i + 1);
        await device.flush();
        qemuIo(there, [inQemuIo(one, i + 1)], ["-d", "unmap"]);
        expect(bitmapsOf(file.toBytes()), `after step ${i}`).toEqual(bitmapsOf(bench.bytes("there.qcow2")));
      }
      bench.put("here.qcow2", file.toBytes());
      bench.check("here.qcow2");
      expect(qemuImg("compare", bench.path("here.qcow2"), there)).toMatch(/identical/);
    });
  });

  test.each([
    ["data and zero at once", 0x0000_0001_0000_0001n],
    ["data without a cluster", 0x0000_0000_0000_0001n],
  ])("an entry that says %s is corrupt: not read, and not written", async (_name, bits) => {
    const file = createMemoryFile({ name: "bad.qcow2" });
    await createQcow2(file, { sizeBytes: SIZE_BYTES, extendedL2: true });
    const device = await openQcow2(file);
    await device.write(0, new Uint8Array(1));
    await device.flush();
    const bytes = file.toBytes();
    const view = new DataView(bytes.buffer);
    const l2 = Number(view.getBigUint64(Number(view.getBigUint64(40))) & 0x00ff_ffff_ffff_fe00n);
    view.setBigUint64(l2 + 16 + 8, bits);
    const bad = createMemoryFile({ name: "bad.qcow2", content: bytes });
    const other = await openQcow2(bad, { writable: false });
    await expect(other.read(CLUSTER_BYTES, new Uint8Array(512))).rejects.toMatchObject({ code: "CORRUPT" });
    const writing = await openQcow2(createMemoryFile({ name: "bad.qcow2", content: bytes }));
    await expect(writing.write(CLUSTER_BYTES, new Uint8Array(512))).rejects.toMatchObject({
      code: "CORRUPT",
    });
    // QEMU finds the same.
    const path = bench.put("bad.qcow2", bytes);
    expect(() => qemuIo(path, [`read ${CLUSTER_BYTES} 512`])).toThrow();
  });
});
