import { expect, test } from "vitest";
import { createMemoryFile } from "../files/memory-file.ts";
import { createQcow2 } from "./create.ts";
import { openQcow2 } from "./open.ts";

test.each([512, 4096, 65536])(
  "a disk that grows inside its last cluster of %i bytes keeps its bytes",
  async (unit) => {
    const file = createMemoryFile({ name: "disk.qcow2" });
    const sizeBytes = 65536 + 512;
    await createQcow2(file, { sizeBytes, clusterSizeBytes: 65536 });
    const device = await openQcow2(file);
    await device.write(65536, new Uint8Array(512).fill(7));
    await device.resize(sizeBytes + unit - (unit === 65536 ? 512 : 0));
    const bytes = new Uint8Array(device.sizeBytes - 65536);
    await device.read(65536, bytes);
    expect(bytes.subarray(0, 512).every((byte) => byte === 7)).toBe(true);
    expect(bytes.subarray(512).every((byte) => byte === 0)).toBe(true);
  },
);
