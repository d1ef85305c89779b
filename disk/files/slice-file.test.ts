import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createQcow2 } from "../qcow2/create.ts";
import { openQcow2 } from "../qcow2/open.ts";
import { expectError, expectSameBytes, testBlockFile } from "../testing/block-file-suite.ts";
import { createColdFile } from "../testing/cold-file.ts";
import { Bench, hasQemu, qemuImg } from "../testing/qemu.ts";
import { randomBytes } from "../testing/random-bytes.ts";
import { createMemoryFile } from "./memory-file.ts";
import { openNodeFile } from "./node-file.ts";
import { createSliceFile } from "./slice-file.ts";

/** Odd on purpose. */
const OFFSET_BYTES = 70_001;

function fileWith(content: Uint8Array, after: number): Uint8Array<ArrayBuffer> {
  const bytes = randomBytes(OFFSET_BYTES + content.length + after);
  bytes.set(content, OFFSET_BYTES);
  return bytes;
}

testBlockFile("slice to the file's end", {
  create: async (content) => ({
    file: createSliceFile(createColdFile(fileWith(content, 0)), { offsetBytes: OFFSET_BYTES }),
  }),
  writable: true,
});

testBlockFile("slice of fixed length, read-only", {
  create: async (content) => ({
    file: createSliceFile(createMemoryFile({ content: fileWith(content, 5000), writable: false }), {
      offsetBytes: OFFSET_BYTES,
      sizeBytes: content.length,
    }),
  }),
  writable: false,
});

describe("slice of fixed length", () => {
  function makeSlice() {
    const content = randomBytes(100_000);
    const whole = createMemoryFile({ name: "disk.img", content });
    return { content, whole, slice: createSliceFile(whole, { offsetBytes: 1000, sizeBytes: 65_536 }) };
  }

  test("is written in place, and nothing around it", async () => {
    const { content, whole, slice } = makeSlice();
    const data = randomBytes(65_536);
    slice.write(0, data);
    slice.truncate(65_536);
    await slice.flush();
    content.set(data, 1000);
    expectSameBytes(whole.toBytes(), content);
  });

  test("refuses to grow or shrink, by name and before anything is written", async () => {
    const { content, whole, slice } = makeSlice();
    const error = await expectError("FIXED_SIZE", async () => slice.write(65_535, new Uint8Array(2)));
    expect(error.message).toContain("disk.img at 1000 has 65536 bytes inside disk.img");
    await expectError("FIXED_SIZE", async () => slice.canWriteNow(65_536, 1));
    await expectError("FIXED_SIZE", () => slice.load(65_536, 1));
    await expectError("FIXED_SIZE", async () => slice.truncate(65_537));
    await expectError("FIXED_SIZE", async () => slice.truncate(0));
    expectSameBytes(whole.toBytes(), content);
  });

  test("lies inside the file", async () => {
    const whole = createMemoryFile({ content: new Uint8Array(1000) });
    await expectError("OUT_OF_RANGE", async () => createSliceFile(whole, { offsetBytes: 1001 }));
    await expectError("OUT_OF_RANGE", async () =>
      createSliceFile(whole, { offsetBytes: 500, sizeBytes: 501 }),
    );
    await expectError("OUT_OF_RANGE", async () => createSliceFile(whole, { offsetBytes: -1 }));
    expect(createSliceFile(whole, { offsetBytes: 1000 }).sizeBytes).toBe(0);
  });

  test("a qcow2 image in it that must grow says so, and stays whole", async () => {
    const image = createMemoryFile({ name: "disk.qcow2" });
    await createQcow2(image, { sizeBytes: 1024 * 1024, clusterSizeBytes: 4096 });
    const sizeBytes = image.sizeBytes + 4 * 4096;
    const whole = createMemoryFile({ name: "disk.tar", content: new Uint8Array(1000 + sizeBytes + 1000) });
    whole.write(1000, image.toBytes());
    const device = await openQcow2(createSliceFile(whole, { offsetBytes: 1000, sizeBytes }));
    // One L2 table and three clusters of data have room; the fourth has not.
    const data = randomBytes(4096);
    for (let i = 0; i < 3; i++) await device.write(i * 4096, data);
    const before = whole.toBytes();
    await expectError("FIXED_SIZE", () => device.write(3 * 4096, data));
    expectSameBytes(whole.toBytes(), before);
    await device.write(4096, new Uint8Array(4096));
    await device.close();
  });
});

describe.skipIf(!hasQemu)("a slice beside QEMU", () => {
  let bench: Bench;
  beforeAll(() => {
    bench = new Bench();
  });
  afterAll(() => bench.remove());

  test("is what QEMU's raw driver reads at an offset", async () => {
    bench.put("disk.img", randomBytes(200_704));
    const file = createSliceFile(await openNodeFile(bench.path("disk.img"), { writable: true }), {
      offsetBytes: 1536,
      sizeBytes: 131_072,
    });
    file.write(100, randomBytes(70_000));
    await file.flush();
    const bytes = new Uint8Array(131_072);
    await file.read(0, bytes);
    await file.close();
    const spec = `json:{"driver":"raw","offset":1536,"size":131072,"file":{"driver":"file","filename":"${bench.path("disk.img")}"}}`;
    qemuImg("convert", "-O", "raw", spec, bench.path("out.raw"));
    expectSameBytes(bench.bytes("out.raw"), bytes);
  });
});
