import { afterAll, describe, expect, it } from "vitest";
import { createMemoryFile } from "../files/memory-file.ts";
import { Bench, hasQemu } from "../testing/qemu.ts";
import { BulkBuilder, BulkSize } from "./bulk-builder.ts";
import { deflateCluster } from "./compression.ts";
import { type CreateQcow2Options, createQcow2 } from "./create.ts";

/** A cluster that says which one it is, and packs well. */
function numbered(index: number, clusterSizeBytes: number): Uint8Array {
  return new Uint8Array(clusterSizeBytes).fill((index % 255) + 1);
}

async function build(
  options: CreateQcow2Options,
  sizes: (index: number) => "zero" | "plain" | "packed",
): Promise<{ image: Uint8Array; guest: Uint8Array }> {
  const { clusterSizeBytes = 65536 } = options;
  const file = createMemoryFile({ name: "built" });
  await createQcow2(file, options);
  const builder = await BulkBuilder.open(file, (offset, bytes) => file.write(offset, bytes));
  const guest = new Uint8Array(options.sizeBytes);
  for (let index = 0; index * clusterSizeBytes < options.sizeBytes; index++) {
    const kind = sizes(index);
    const cluster = numbered(index, clusterSizeBytes);
    const bytes = kind === "packed" ? (deflateCluster(cluster) ?? cluster) : cluster;
    const size = kind === "zero" ? BulkSize.ZERO : kind === "plain" ? BulkSize.PLAIN : bytes.length;
    builder.addClusters(index, [size], kind === "zero" ? new Uint8Array(0) : bytes);
    if (kind !== "zero") guest.set(cluster, index * clusterSizeBytes);
  }
  file.truncate(builder.finish());
  const image = new Uint8Array(file.sizeBytes);
  await file.read(0, image);
  return { image, guest };
}

describe.skipIf(!hasQemu)("an image built in bulk", () => {
  const bench = new Bench();
  afterAll(() => bench.remove());

  const mixed = (index: number) => (index % 5 === 0 ? "zero" : index % 3 === 0 ? "plain" : "packed");

  it.each<[string, CreateQcow2Options, (index: number) => "zero" | "plain" | "packed"]>([
    ["plain and compressed clusters", { sizeBytes: 4 * 2 ** 20 }, mixed],
    ["version 2", { sizeBytes: 2 ** 20, version: 2 }, mixed],
    ["nothing at all", { sizeBytes: 2 ** 20 }, () => "zero"],
    [
      "refcounts of one bit, which compressed clusters cannot share",
      { sizeBytes: 2 ** 20, refcountBits: 1 },
      mixed,
    ],
    ["several second-level tables", { sizeBytes: 2 ** 20, clusterSizeBytes: 512 }, mixed],
    [
      "a refcount table that grows",
      { sizeBytes: 3 * 2 ** 20, clusterSizeBytes: 512, refcountBits: 64 },
      () => "plain",
    ],
  ])("is clean and has what was put in: %s", async (_, options, sizes) => {
    const { image, guest } = await build(options, sizes);
    bench.put("built.qcow2", image);
    bench.check("built.qcow2");
    expect(Buffer.from(bench.guestBytes("built.qcow2")).equals(guest)).toBe(true);
  });

  it("takes clusters from the disk's start to its end only, and only into a new image", async () => {
    const file = createMemoryFile({ name: "built" });
    await createQcow2(file, { sizeBytes: 2 ** 20 });
    const builder = await BulkBuilder.open(file, (offset, bytes) => file.write(offset, bytes));
    builder.addClusters(3, [BulkSize.PLAIN], numbered(3, 65536));
    expect(() => builder.addClusters(2, [BulkSize.PLAIN], numbered(2, 65536))).toThrow(/order/);
    const extended = createMemoryFile({ name: "extended" });
    await createQcow2(extended, { sizeBytes: 2 ** 20, extendedL2: true });
    await expect(BulkBuilder.open(extended, () => {})).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
  });
});
