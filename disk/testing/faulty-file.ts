import type { BlockFile } from "../block-file.ts";
import { createHostFile } from "../files/node-file.ts";
import { createFaultyHostIo, type FaultyHostIo } from "./faulty-host-io.ts";

/** A plain file whose host loses power on demand. */
export function createFaultyFile(
  name: string,
  content?: Uint8Array,
): { file: BlockFile; host: FaultyHostIo } {
  const host = createFaultyHostIo(content);
  return { file: createHostFile(host, { name, writable: true }), host };
}
