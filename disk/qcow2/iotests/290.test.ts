import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { createMemoryFile } from "../../files/memory-file.ts";
import { Bench, hasQemu, qemuImg } from "../../testing/qemu.ts";
import { createQcow2 } from "../create.ts";
import { openQcow2 } from "../open.ts";

const SIZE_BYTES = 128 * 1024;

/** What iotest 290 is about: what discarded clusters read as, in either version, with and without a backing file. */
describe.skipIf(!hasQemu)("discard (iotest 290)", () => {
  let bench: Bench;
  beforeEach(() => {
    bench = new Bench();
  });
  afterEach(() => bench.remove());

  test.each([
    { version: 2, backed: false, reads: 0, map: [] },
    { version: 3, backed: false, reads: 0, map: [] },
    // Version 2 cannot say zeros, and letting go would show the backing file: nothing happens.
    { version: 2, backed: true, reads: 1, map: ["here.qcow2"] },
    { version: 3, backed: true, reads: 0, map: [] },
  ] as const)("version $version, backing file: $backed", async ({ version, backed, reads, map }) => {
    const base = new Uint8Array(SIZE_BYTES).fill(0xff);
    bench.put("base.raw", base);
    const file = createMemoryFile({ name: "here.qcow2" });
    await createQcow2(file, {
      sizeBytes: SIZE_BYTES,
      version,
      ...(backed && { backing: { name: "base.raw", format: "raw" } }),
    });
    const device = await openQcow2(file, {
      resolveBacking: async () => createMemoryFile({ content: base, writable: false }),
    });
    await device.write(0, new Uint8Array(SIZE_BYTES).fill(1));
    await device.discard(0, SIZE_BYTES);
    const read = new Uint8Array(SIZE_BYTES);
    await device.read(0, read);
    expect(read.every((byte) => byte === reads)).toBe(true);
    await device.flush();
    const path = bench.put("here.qcow2", file.toBytes());
    bench.check("here.qcow2");
    expect(bench.guestBytes("here.qcow2").every((byte) => byte === reads)).toBe(true);
    // The map lists what is stored: after its heading, one line a run.
    const lines = qemuImg("map", path).trim().split("\n").slice(1);
    expect(lines.map((line) => line.split("/").at(-1))).toEqual(map);
  });
});
