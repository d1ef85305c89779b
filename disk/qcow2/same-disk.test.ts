import { expect, it } from "vitest";
import { createMemoryFile } from "../files/memory-file.ts";
import { createQcow2 } from "./create.ts";
import { openQcow2 } from "./open.ts";
import { isDiskOf } from "./same-disk.ts";

const KIB = 1024;

async function disk() {
  const file = createMemoryFile({ name: "disk.qcow2" });
  await createQcow2(file, { sizeBytes: 256 * KIB, clusterSizeBytes: 4 * KIB });
  const device = await openQcow2(file);
  await device.write(0, new Uint8Array(20 * KIB).fill(1));
  await device.createSnapshot({ name: "then" });
  return device;
}

it("is the disk of a snapshot until something is written, and again when it is put back", async () => {
  const device = await disk();
  expect(await isDiskOf(device, "then")).toBe(true);
  await device.createSnapshot({ name: "later" });
  expect(await isDiskOf(device, "then")).toBe(true);
  await device.write(200 * KIB, new Uint8Array(1));
  expect(await isDiskOf(device, "then")).toBe(false);
  await device.applySnapshot("then");
  expect(await isDiskOf(device, "then")).toBe(true);
});

it("is not the disk of a snapshot of another size", async () => {
  const device = await disk();
  await device.resize(260 * KIB);
  expect(await isDiskOf(device, "then")).toBe(false);
});

it("says that there is no such snapshot", async () => {
  await expect(isDiskOf(await disk(), "never")).rejects.toMatchObject({ code: "SNAPSHOT_NOT_FOUND" });
});
