import {
  type BlockFile,
  createMemoryFile,
  createQcow2,
  openQcow2,
  type Qcow2Device,
  readQcow2Info,
} from "../disk/index.ts";
import { startHeadlessMachine } from "../emulator/node.ts";
import { PROMPT, SNAPSHOT_NAME } from "./ready-state.ts";

const ANSWER_TIMEOUT_MS = 120_000;

/** What a remote file is fetched by. */
const CHUNK_BYTES = 256 * 1024;

/**
 * Starts a machine from an image's saved state as a page does it, with the image far away, and asks its prompt for
 * an answer.
 *
 * @returns how many bytes have to be fetched for that: every chunk of which a byte is read.
 * @throws ByreError when the machine does not start or does not answer.
 */
export async function measureStart(image: Uint8Array<ArrayBuffer>): Promise<number> {
  const { file, fetchedBytes } = countChunks(createMemoryFile({ name: "linux.qcow2", content: image }));
  const overlay = createMemoryFile({ name: "overlay.qcow2" });
  const { sizeBytes } = await readQcow2Info(file);
  await createQcow2(overlay, { sizeBytes, backing: { name: file.name, format: "qcow2" } });
  const device = await openQcow2(overlay, {
    writable: true,
    resolveBacking: async () => ({ file, snapshot: SNAPSHOT_NAME }),
  });
  try {
    await startAndAsk(device);
    return fetchedBytes();
  } finally {
    await device.close();
  }
}

async function startAndAsk(hda: Qcow2Device): Promise<void> {
  const machine = await startHeadlessMachine({
    disks: { hda },
    startFrom: { device: hda.backing as Qcow2Device, snapshot: SNAPSHOT_NAME },
  });
  try {
    const fromCharacter = machine.serial.text().length;
    machine.serial.send("echo $((6 * 7))\n");
    await machine.waitForText(`42\r\n${PROMPT}`, { timeoutMs: ANSWER_TIMEOUT_MS, fromCharacter });
  } finally {
    await machine.close();
  }
}

/** A file that counts which of its chunks were read. */
function countChunks(file: BlockFile): { file: BlockFile; fetchedBytes(): number } {
  const chunks = new Set<number>();
  const counted = new Proxy(file, {
    get(target, key) {
      const value: unknown = Reflect.get(target, key, target);
      if (typeof value !== "function") return value;
      if (key !== "read" && key !== "readNow") return value.bind(target);
      return (offsetBytes: number, bytes: Uint8Array) => {
        const end = offsetBytes + bytes.length;
        for (let at = offsetBytes - (offsetBytes % CHUNK_BYTES); at < end; at += CHUNK_BYTES)
          chunks.add(at / CHUNK_BYTES);
        return value.call(target, offsetBytes, bytes);
      };
    },
  });
  const lengthOf = (chunk: number) => Math.min(CHUNK_BYTES, file.sizeBytes - chunk * CHUNK_BYTES);
  return {
    file: counted,
    fetchedBytes: () => [...chunks].reduce((sum, chunk) => sum + lengthOf(chunk), 0),
  };
}
