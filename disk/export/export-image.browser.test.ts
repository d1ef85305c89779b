import { expect, test } from "vitest";
import { openImportingFile } from "../files/importing-file.ts";
import { openIndexedDbFile } from "../files/indexeddb-file.ts";
import { createMemoryFile } from "../files/memory-file.ts";
import { checkQcow2 } from "../qcow2/check.ts";
import { createQcow2 } from "../qcow2/create.ts";
import { openQcow2 } from "../qcow2/open.ts";
import type { Qcow2Device } from "../qcow2/qcow2-device.ts";
import { expectSameBytes } from "../testing/block-file-suite.ts";
import { openTestDatabase } from "../testing/indexeddb-file-cases.ts";
import { randomBytes } from "../testing/random-bytes.ts";
import { exportImage } from "./export-image.ts";

const MIB = 1024 * 1024;

async function bytesOf(device: Qcow2Device): Promise<Uint8Array> {
  const bytes = new Uint8Array(device.sizeBytes).fill(0xa5);
  await device.read(0, bytes);
  return bytes;
}

test("a machine's disk is exported with its base while that is still being copied", async () => {
  const database = await openTestDatabase();
  const dropped = createMemoryFile();
  await createQcow2(dropped, { sizeBytes: 16 * MIB });
  const base = await openQcow2(dropped, { writable: true });
  for (let at = 0; at < 16 * MIB; at += 3 * MIB) await base.write(at, randomBytes(MIB));
  const source = new File([dropped.toBytes()], "base.qcow2");
  const overlay = await openIndexedDbFile({ database, fileId: "overlay", create: true });
  await createQcow2(overlay, { sizeBytes: 16 * MIB, backing: { name: "base.qcow2", format: "qcow2" } });
  const copying = await openImportingFile({ database, fileId: "base", source, pieceBytes: 32 * 1024 });
  const device = await openQcow2(overlay, { writable: true, resolveBacking: async () => copying });
  await device.write(5 * MIB + 512, randomBytes(2 * MIB));
  await device.createSnapshot({ name: "then" });
  await device.write(MIB / 2, randomBytes(MIB));
  expect(copying.progress.state).toBe("copying");

  const pieces: Uint8Array<ArrayBuffer>[] = [];
  const stream = new WritableStream<Uint8Array<ArrayBuffer>>({ write: (piece) => void pieces.push(piece) });
  await exportImage(device, stream, { snapshots: "all", compress: true });
  const content = new Uint8Array(await new Blob(pieces).arrayBuffer());
  const file = createMemoryFile({ content });
  expect(await checkQcow2(file)).toMatchObject({ corruptions: 0, leaks: 0 });
  const copy = await openQcow2(file, { writable: false });
  expectSameBytes(await bytesOf(copy), await bytesOf(device));
  const [then, thenCopied] = await Promise.all([device.openSnapshot("then"), copy.openSnapshot("then")]);
  expectSameBytes(await bytesOf(thenCopied), await bytesOf(then));
  await device.close();
  database.close();
});
