import type { BlockDevice } from "./block-device.ts";
import { createQcow2 } from "./qcow2/create.ts";
import { openQcow2 } from "./qcow2/open.ts";
import { openRawDevice } from "./raw/raw-device.ts";
import { describeBlockDevice } from "./testing/block-device-suite.ts";
import { type ColdFile, createColdFile } from "./testing/cold-file.ts";

let last: ColdFile;

describeBlockDevice("a raw device", {
  async open(content, writable) {
    last = createColdFile(content, { name: "disk.raw" });
    return openRawDevice(last, { writable });
  },
  reopen: async () => openRawDevice(createColdFile(last.toBytes())),
});

for (const transactional of [true, false]) {
  describeBlockDevice(`a qcow2 device (transactional: ${transactional})`, {
    async open(content, writable) {
      const file = createColdFile(undefined, { name: "disk.qcow2", transactional });
      await createQcow2(file, { sizeBytes: content.length, clusterSizeBytes: 4096 });
      const device = await openQcow2(file);
      await device.write(0, content);
      await device.flush();
      last = createColdFile(file.toBytes(), { name: "disk.qcow2", transactional });
      return openQcow2(last, { writable });
    },
    reopen: () => openQcow2(createColdFile(last.toBytes(), { transactional })),
  });
}

describeBlockDevice("a qcow2 overlay that holds nothing of its own", {
  async open(content, writable) {
    last = createColdFile(undefined, { name: "overlay.qcow2" });
    await createQcow2(last, { sizeBytes: content.length, backing: { name: "base", format: "raw" } });
    base = content;
    return openOverlay(last, writable);
  },
  reopen: () => openOverlay(createColdFile(last.toBytes()), true),
});

let base: Uint8Array;

function openOverlay(file: ColdFile, writable: boolean): Promise<BlockDevice> {
  return openQcow2(file, {
    writable,
    resolveBacking: async () => createColdFile(base, { name: "base", capacityPieces: 200 }),
  });
}
