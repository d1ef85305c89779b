import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createMemoryFile } from "../files/memory-file.ts";
import { Bench, hasQemu, qemuIo } from "../testing/qemu.ts";
import { createQcow2 } from "./create.ts";
import { openQcow2 } from "./open.ts";

const MIB = 1024 * 1024;
const CLUSTER_SIZES = Array.from({ length: 13 }, (_, i) => 512 * 2 ** i);
const REFCOUNT_WIDTHS = [1, 2, 4, 8, 16, 32, 64];

describe.skipIf(!hasQemu)("tables that grow", () => {
  let bench: Bench;
  beforeAll(() => {
    bench = new Bench();
  });
  afterAll(() => bench.remove());

  test.each(CLUSTER_SIZES)(
    "the L1 table, with clusters of %i bytes and every refcount width",
    async (clusterSizeBytes) => {
      for (const refcountBits of REFCOUNT_WIDTHS) {
        const file = createMemoryFile({ name: "disk.qcow2" });
        await createQcow2(file, { sizeBytes: MIB, clusterSizeBytes, refcountBits });
        const device = await openQcow2(file);
        await device.write(MIB - 600, new Uint8Array(600).fill(1));
        const entries = device.image.l1Entries;
        // Past what one cluster of L1 entries reaches, where that is a size a file name fits.
        const reach = device.image.l2ReachBytes * (clusterSizeBytes / 8);
        const sizeBytes = Math.min(reach * 2, 2 ** 46);
        await device.resize(sizeBytes);
        expect(device.image.l1Entries).toBeGreaterThan(entries);
        await device.write(sizeBytes - 700, new Uint8Array(700).fill(2));
        await device.flush();
        const path = bench.put("disk.qcow2", file.toBytes());
        bench.check("disk.qcow2");
        qemuIo(path, [
          `read -P 1 ${MIB - 512} 512`,
          `read -P 0 ${MIB} 512`,
          `read -P 2 ${sizeBytes - 512} 512`,
        ]);
      }
    },
    60_000,
  );

  test.each([512, 1024])(
    "an L1 table longer than a refcount block reaches (clusters of %i bytes)",
    async (clusterSizeBytes) => {
      const file = createMemoryFile({ name: "disk.qcow2" });
      await createQcow2(file, { sizeBytes: MIB / 4, clusterSizeBytes, refcountBits: 64 });
      const device = await openQcow2(file);
      await device.write(0, new Uint8Array(1000).fill(1));
      const sizeBytes = 4096 * MIB;
      await device.resize(sizeBytes);
      await device.write(sizeBytes - 512, new Uint8Array(512).fill(2));
      await device.createSnapshot({ name: "one" });
      await device.write(0, new Uint8Array(1000).fill(3));
      await device.flush();
      const path = bench.put("disk.qcow2", file.toBytes());
      bench.check("disk.qcow2");
      qemuIo(path, ["read -P 3 0 1000", `read -P 2 ${sizeBytes - 512} 512`]);
    },
  );

  // Only small clusters have refcount tables that a test can fill.
  test.each([
    { clusterSizeBytes: 512, refcountBits: 64, mib: 5 },
    { clusterSizeBytes: 512, refcountBits: 32, mib: 9 },
    { clusterSizeBytes: 512, refcountBits: 16, mib: 17 },
    { clusterSizeBytes: 512, refcountBits: 8, mib: 17 },
    { clusterSizeBytes: 1024, refcountBits: 64, mib: 17 },
  ])(
    "the refcount table, with clusters of $clusterSizeBytes bytes and refcounts of $refcountBits bits",
    async ({ mib, ...shape }) => {
      const file = createMemoryFile({ name: "disk.qcow2" });
      await createQcow2(file, { sizeBytes: 32 * MIB, ...shape });
      const device = await openQcow2(file);
      const clusters = device.header.refcountTableClusters;
      const data = new Uint8Array(mib * MIB).fill(3);
      await device.write(0, data);
      expect(device.header.refcountTableClusters).toBeGreaterThan(clusters);
      await device.flush();
      const path = bench.put("disk.qcow2", file.toBytes());
      bench.check("disk.qcow2");
      qemuIo(path, [`read -P 3 0 ${mib}M`]);
    },
    60_000,
  );
});
