import type { BlockDevice } from "../block-device.ts";
import type { IoCommand } from "./io-command.ts";
import { IoFailure, ioNumber, ioSize } from "./io-text.ts";

const SECTOR_BYTES = 512;

export const length: IoCommand = {
  name: "length",
  short: "l",
  minArguments: 0,
  maxArguments: 0,
  usage: "",
  summary: "gets the length of the current file",
  async run({ device, out }) {
    out.out(`${ioSize(device.sizeBytes)}\n`);
  },
};

export const alloc: IoCommand = {
  name: "alloc",
  short: "a",
  minArguments: 1,
  maxArguments: 2,
  usage: "offset [count]",
  summary: "checks if offset is allocated in the file",
  async run({ device, out }, [offsetText = "", countText]) {
    const start = ioNumber(offsetText);
    const asked = countText === undefined ? SECTOR_BYTES : ioNumber(countText);
    const count = Math.min(asked, Math.max(0, device.sizeBytes - start));
    let allocated = 0;
    for (let at = start; at < start + count; ) {
      const run = await allocatedRun(device, at, start + count - at);
      if (run.allocated) allocated += run.lengthBytes;
      at += run.lengthBytes;
    }
    out.out(`${allocated}/${count} bytes allocated at offset ${ioSize(start)}\n`);
  },
};

export const map: IoCommand = {
  name: "map",
  minArguments: 0,
  maxArguments: 0,
  usage: "",
  summary: "prints the allocated areas of a file",
  async run({ device, out }) {
    for (let at = 0; at < device.sizeBytes; ) {
      const { allocated, lengthBytes } = await allocatedRun(device, at, device.sizeBytes - at);
      if (lengthBytes === 0) throw new IoFailure("Unexpected end of image");
      const what = allocated ? "    allocated" : "not allocated";
      out.out(
        `${ioSize(lengthBytes)} (0x${lengthBytes.toString(16)}) bytes ${what} at offset ${ioSize(at)} (0x${at.toString(16)})\n`,
      );
      at += lengthBytes;
    }
  },
};

/** How far the image itself says what bytes are, or leaves it to what is behind it. */
async function allocatedRun(
  device: BlockDevice,
  offsetBytes: number,
  lengthBytes: number,
): Promise<{ allocated: boolean; lengthBytes: number }> {
  let allocated: boolean | undefined;
  let done = 0;
  while (done < lengthBytes) {
    const status = await device.blockStatus(offsetBytes + done, lengthBytes - done);
    const isAllocated = status.zero || status.data;
    allocated ??= isAllocated;
    if (isAllocated !== allocated) break;
    done += status.lengthBytes;
  }
  return { allocated: allocated ?? false, lengthBytes: done };
}
