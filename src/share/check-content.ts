import { checkFeatures, parseHeader, toByreError } from "../../disk/index.ts";
import { oneLine } from "../appliance/plain-text.ts";
import { formatBytes } from "../components/format.ts";
import { inWholeCluster } from "../library/appliance-facts.ts";
import { lastPart } from "../open/file-names.ts";
import { parseNameAtSnapshot } from "../open/snapshot-file-name.ts";
import type { Find } from "./host-finding.ts";
import { type ImagePrint, printOf } from "./image-print.ts";

const QCOW2_MAGIC = [0x51, 0x46, 0x49, 0xfb];

/** @returns whether it is an image at all. */
export function checkContent(beginning: Uint8Array, find: Find): boolean {
  if (QCOW2_MAGIC.every((byte, index) => beginning[index] === byte)) return true;
  const text = new TextDecoder().decode(beginning.subarray(0, 512)).trimStart().toLowerCase();
  if (text.startsWith("<!doctype") || text.startsWith("<html"))
    find(
      "bad",
      "There is a web page at this address, not the file.",
      "Many sites show a page about a file first. Use the address of the download itself.",
    );
  else
    find("bad", "The file is no qcow2 image.", "Upload the exported file as it is, not packed in another.");
  return false;
}

export async function checkSame(
  beginning: Uint8Array<ArrayBuffer>,
  sizeBytes: number | undefined,
  expected: ImagePrint,
  find: Find,
): Promise<void> {
  const another =
    "Upload the file that was exported last. To share the one that is there, open its address in Byre and share that machine.";
  if (sizeBytes !== undefined && sizeBytes < expected.sizeBytes)
    find(
      "bad",
      `The file there has ${formatBytes(sizeBytes)}, the exported one has ${formatBytes(expected.sizeBytes)}.`,
      "The upload has probably not ended, or was cut off. Upload the file again.",
    );
  else if (
    (sizeBytes !== undefined && sizeBytes !== expected.sizeBytes) ||
    (await printOf(beginning)) !== expected.beginning
  )
    find("bad", "The file there is another than the one that was exported.", another);
  else find("good", "It is the file that was exported.");
}

/**
 * Whether a machine could be made of an image, as far as its beginning tells. A file that was exported here needs no such
 * look.
 *
 * @param name of the file.
 */
export function checkImage(beginning: Uint8Array, name: string, find: Find): void {
  const convert = "Convert it with qemu-img, and upload what comes out.";
  try {
    const header = parseHeader(inWholeCluster(beginning), name);
    checkFeatures(header, name, false);
    // What is refused above, and AES: nobody is asked for a password here.
    if (header.cryptMethod !== 0)
      find("bad", `${name} is encrypted, and needs a password to start.`, convert);
    const { backingName } = header;
    if (backingName === undefined) return;
    const beside = parseNameAtSnapshot(lastPart(backingName))?.fileName ?? lastPart(backingName);
    find(
      "poor",
      `${name} is built on another file, and starts only with “${oneLine(beside, 255)}” beside it.`,
      "Put that file into the same folder of the server, if it is not there yet.",
    );
  } catch (error) {
    const { code, message } = toByreError(error);
    const isDamaged = code === "CORRUPT" || code === "TRUNCATED";
    find("bad", message, isDamaged ? "Upload the file again, as it is." : convert);
  }
}
