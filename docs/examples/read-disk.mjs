// Reads a disk image: what it is, its partitions' table, and how much of it is stored.
//
//   node docs/examples/read-disk.mjs disk.qcow2

import { dirname, resolve } from "node:path";
import { ByreError, openDevice } from "byre/disk";
import { openNodeFile } from "byre/disk/node";

const path = process.argv[2];
if (!path) throw new Error("Which image? node docs/examples/read-disk.mjs disk.qcow2");

try {
  const device = await openDevice(await openNodeFile(path), {
    // Nothing an image names is opened on its word alone: here only what lies in its own folder.
    async resolveBacking({ name, overlayName }) {
      if (name.includes("/") || name.includes(":"))
        throw new ByreError("BACKING_DENIED", `${overlayName} names ${name}, which is not in its folder.`);
      return await openNodeFile(resolve(dirname(path), name));
    },
  });
  try {
    console.log(`${device.name}: a disk of ${device.sizeBytes} bytes`);

    const sector = new Uint8Array(512);
    await device.read(0, sector);
    const isPartitioned = sector[510] === 0x55 && sector[511] === 0xaa;
    console.log(isPartitioned ? "It has a partition table." : "It has no partition table.");

    let storedBytes = 0;
    for (let at = 0; at < device.sizeBytes; ) {
      const status = await device.blockStatus(at, device.sizeBytes - at);
      if (status.data) storedBytes += status.lengthBytes;
      at += status.lengthBytes;
    }
    console.log(`${storedBytes} bytes of it are stored in this file.`);
  } finally {
    await device.close();
  }
} catch (error) {
  if (!(error instanceof ByreError)) throw error;
  // Programs look at the code, people at the message.
  console.error(`${error.code}: ${error.message}`);
  process.exitCode = 1;
}
