import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { createMemoryFile, type MemoryFile } from "../files/memory-file.ts";
import { Bench, hasQemu, qemuImg, qemuIo } from "../testing/qemu.ts";
import { type CreateQcow2Options, createQcow2 } from "./create.ts";
import { openQcow2 } from "./open.ts";
import type { Qcow2Device } from "./qcow2-device.ts";

const KIB = 1024;
const MIB = 1024 * KIB;
/** Not a whole number of clusters: the last one is cut. */
const SIZE_BYTES = 4 * MIB + 512 * 3;

const SHAPES: { name: string; options: Partial<CreateQcow2Options>; qemu: string }[] = [
  { name: "the usual shape", options: {}, qemu: "compat=1.1" },
  { name: "version 2", options: { version: 2 }, qemu: "compat=0.10" },
  { name: "small clusters", options: { clusterSizeBytes: 1024 }, qemu: "cluster_size=1024" },
  { name: "2 MiB clusters", options: { clusterSizeBytes: 2 * MIB }, qemu: "cluster_size=2M" },
  { name: "subclusters", options: { extendedL2: true }, qemu: "extended_l2=on" },
  {
    name: "small subclusters",
    options: { extendedL2: true, clusterSizeBytes: 16 * KIB },
    qemu: "extended_l2=on,cluster_size=16k",
  },
  { name: "zstd", options: { compression: "zstd" }, qemu: "compression_type=zstd" },
];

/** One guest operation, done by both. Offsets and lengths in bytes. */
type Step =
  | { do: "write"; at: number; length: number; value: number }
  | { do: "zero"; at: number; length: number; unmap: boolean }
  | { do: "discard"; at: number; length: number }
  | { do: "compressed"; at: number; length: number; value: number };

const STEPS: Step[] = [
  { do: "write", at: 0, length: 300 * KIB, value: 1 },
  { do: "compressed", at: 2 * MIB, length: 2 * MIB, value: 2 },
  { do: "zero", at: 64 * KIB, length: 64 * KIB, unmap: false },
  { do: "zero", at: 130 * KIB, length: 3 * KIB, unmap: true },
  { do: "zero", at: 512 * KIB, length: 100 * KIB, unmap: true },
  { do: "zero", at: 700 * KIB + 512, length: 512, unmap: false },
  { do: "write", at: 70 * KIB, length: 1024, value: 3 },
  { do: "discard", at: 192 * KIB, length: 130 * KIB },
  { do: "write", at: 200 * KIB + 512, length: 512, value: 4 },
  { do: "zero", at: 2 * MIB + 4096, length: 4096, unmap: true },
  { do: "write", at: 3 * MIB + 1000 * 512, length: 3 * 512, value: 5 },
  { do: "zero", at: SIZE_BYTES - 1536, length: 1536, unmap: true },
  { do: "write", at: SIZE_BYTES - 512, length: 512, value: 6 },
  { do: "discard", at: 4 * MIB, length: SIZE_BYTES - 4 * MIB },
  { do: "discard", at: 0, length: 64 * KIB },
  { do: "zero", at: 0, length: 2 * MIB, unmap: false },
  { do: "write", at: 100 * KIB, length: 200 * KIB, value: 7 },
];

/** How many steps are run before the two images are compared. */
const STEPS_BETWEEN_LOOKS = 6;

async function doHere(device: Qcow2Device, step: Step): Promise<void> {
  switch (step.do) {
    case "write":
      return device.write(step.at, new Uint8Array(step.length).fill(step.value));
    case "zero":
      return device.writeZeroes(step.at, step.length, { unmap: step.unmap });
    case "discard":
      return device.discard(step.at, step.length);
    case "compressed": {
      const { clusterSizeBytes } = device.header;
      const cluster = new Uint8Array(clusterSizeBytes).fill(step.value);
      for (let done = 0; done < step.length; done += clusterSizeBytes)
        await device.writeCompressed(step.at + done, cluster);
    }
  }
}

function inQemuIo(step: Step): string {
  switch (step.do) {
    case "write":
      return `write -P ${step.value} ${step.at} ${step.length}`;
    case "zero":
      return `write -z ${step.unmap ? "-u " : ""}${step.at} ${step.length}`;
    case "discard":
      return `discard ${step.at} ${step.length}`;
    case "compressed":
      return `write -c -P ${step.value} ${step.at} ${step.length}`;
  }
}

/** What `qemu-img map` says, without where in the file it is: that is free to differ. */
function mapOf(path: string): unknown[] {
  const entries = JSON.parse(qemuImg("map", "--output=json", path)) as {
    start: number;
    length: number;
    zero: boolean;
    data: boolean;
    depth: number;
    present: boolean;
  }[];
  const merged: typeof entries = [];
  for (const { start, length, data, depth, present, ...entry } of entries) {
    // QEMU may look into the file below and call data that lies in a hole both: that is about the file system.
    const zero = entry.zero && !data;
    const last = merged.at(-1);
    if (last && last.zero === zero && last.data === data && last.depth === depth && last.present === present)
      last.length += length;
    else merged.push({ start, length, zero, data, depth, present });
  }
  return merged;
}

describe.skipIf(!hasQemu)("the same operations as QEMU leave the same image", () => {
  let bench: Bench;
  beforeEach(() => {
    bench = new Bench();
  });
  afterEach(() => bench.remove());

  async function openHere(file: MemoryFile): Promise<Qcow2Device> {
    return openQcow2(file, {
      resolveBacking: async ({ name }) =>
        createMemoryFile({ name, content: bench.bytes(name), writable: false }),
    });
  }

  /** Runs the steps on both sides, and compares after each. */
  async function compare(shape: (typeof SHAPES)[number], base: string | undefined): Promise<void> {
    const qemuOptions = base ? `${shape.qemu},backing_file=${bench.path(base)},backing_fmt=raw` : shape.qemu;
    qemuImg("create", "-q", "-f", "qcow2", "-o", qemuOptions, bench.path("there.qcow2"), String(SIZE_BYTES));
    const file = createMemoryFile({ name: "here.qcow2" });
    await createQcow2(file, {
      sizeBytes: SIZE_BYTES,
      ...shape.options,
      ...(base && { backing: { name: base, format: "raw" } }),
    });
    const device = await openHere(file);
    for (let done = 0; done < STEPS.length; done += STEPS_BETWEEN_LOOKS) {
      const steps = STEPS.slice(done, done + STEPS_BETWEEN_LOOKS);
      for (const step of steps) await doHere(device, step);
      await device.flush();
      bench.put("here.qcow2", file.toBytes());
      qemuIo(bench.path("there.qcow2"), steps.map(inQemuIo), ["-d", "unmap"]);
      const what = JSON.stringify(steps);
      expect(mapOf(bench.path("here.qcow2")), what).toEqual(mapOf(bench.path("there.qcow2")));
    }
    bench.check("here.qcow2");
    expect(qemuImg("compare", bench.path("here.qcow2"), bench.path("there.qcow2"))).toMatch(/identical/);
    const again = await openHere(createMemoryFile({ content: file.toBytes() }));
    const bytes = new Uint8Array(SIZE_BYTES);
    await again.read(0, bytes);
    expect(Buffer.compare(bytes, bench.guestBytes("there.qcow2"))).toBe(0);
    // And their file, read and changed here.
    const theirs = createMemoryFile({ name: "there.qcow2", content: bench.bytes("there.qcow2") });
    const other = await openQcow2(theirs, {
      resolveBacking: async () =>
        createMemoryFile({ name: "base", content: bench.bytes(base ?? ""), writable: false }),
    });
    await other.read(0, bytes);
    expect(Buffer.compare(bytes, bench.guestBytes("there.qcow2"))).toBe(0);
    for (const step of STEPS) await doHere(other, step);
    await other.flush();
    bench.put("there.qcow2", theirs.toBytes());
    bench.check("there.qcow2");
    expect(qemuImg("compare", bench.path("here.qcow2"), bench.path("there.qcow2"))).toMatch(/identical/);
  }

  test.each(SHAPES)("of $name", async (shape) => compare(shape, undefined), 60_000);

  test.each(SHAPES)(
    "of $name over a shorter backing file",
    async (shape) => {
      bench.put("base.raw", new Uint8Array(2 * MIB + 300 * KIB).fill(0xb));
      await compare(shape, "base.raw");
    },
    60_000,
  );

  test("encrypted with AES", async () => {
    const secret = ["--object", "secret,id=s,data=geheim"];
    const spec = (name: string) =>
      `driver=qcow2,encrypt.key-secret=s,file.driver=file,file.filename=${bench.path(name)}`;
    qemuImg(
      "create",
      "-q",
      ...secret,
      "-f",
      "qcow2",
      "-o",
      "encrypt.format=aes,encrypt.key-secret=s",
      bench.path("there.qcow2"),
      String(SIZE_BYTES),
    );
    const file = createMemoryFile({ name: "here.qcow2" });
    await createQcow2(file, { sizeBytes: SIZE_BYTES, encryption: { password: "geheim" } });
    await expect(openQcow2(createMemoryFile({ content: file.toBytes() }))).rejects.toMatchObject({
      code: "ENCRYPTED",
    });
    const device = await openQcow2(file, { password: "geheim" });
    const steps = STEPS.filter((step) => step.do !== "compressed");
    for (const step of steps) {
      await doHere(device, step);
      qemuIo(spec("there.qcow2"), [inQemuIo(step)], [...secret, "-d", "unmap", "--image-opts"]);
    }
    await expect(device.writeCompressed(0, new Uint8Array(65536))).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
    });
    await device.flush();
    bench.put("here.qcow2", file.toBytes());
    qemuImg("check", ...secret, "--image-opts", spec("here.qcow2"));
    const same = qemuImg("compare", ...secret, "--image-opts", spec("here.qcow2"), spec("there.qcow2"));
    expect(same).toMatch(/identical/);
    const theirs = await openQcow2(createMemoryFile({ content: bench.bytes("there.qcow2") }), {
      password: "geheim",
    });
    const warnings: string[] = [];
    for (const password of ["geheim", "wrong"])
      await openQcow2(createMemoryFile({ content: file.toBytes(), writable: false }), {
        password,
        onWarning: (message) => warnings.push(`${password}: ${message}`),
      });
    expect(warnings).toEqual([expect.stringMatching(/^wrong: .*noise/)]);
    const [ours, read] = [new Uint8Array(SIZE_BYTES), new Uint8Array(SIZE_BYTES)];
    await device.read(0, ours);
    await theirs.read(0, read);
    expect(Buffer.compare(ours, read)).toBe(0);
    expect(ours[100 * KIB]).toBe(7);
  });
});
