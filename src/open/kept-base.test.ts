import "fake-indexeddb/auto";
import { expect, inject, it } from "vitest";
import { createMemoryFile, createQcow2, openIndexedDbFile, openQcow2 } from "../../disk/index.ts";
import { blockStore } from "../library/block-store.ts";
import { type MachineRecord, newId, type PinnedFile } from "../library/machine-record.ts";
import { baseHasSnapshots } from "./kept-base.ts";

const { signal } = new AbortController();

async function image(...snapshots: string[]): Promise<Uint8Array<ArrayBuffer>> {
  const file = createMemoryFile({ name: "base.qcow2" });
  await createQcow2(file, { sizeBytes: 1024 * 1024 });
  const device = await openQcow2(file, { writable: true });
  for (const name of snapshots) await device.createSnapshot({ name });
  await device.flush();
  return file.toBytes();
}

async function served(content: Uint8Array<ArrayBuffer>): Promise<PinnedFile> {
  const url = `${inject("httpTestServer")}/${crypto.randomUUID()}`;
  await fetch(url, { method: "PUT", body: content });
  return {
    name: "base.qcow2",
    source: { kind: "url", url },
    identity: { sizeBytes: content.length },
  };
}

async function imported(content: Uint8Array): Promise<PinnedFile> {
  const fileId = newId();
  const name = "base.qcow2";
  const file = await openIndexedDbFile({ database: await blockStore(), fileId, name, create: true });
  file.write(0, content);
  await file.flush();
  await file.close();
  return { name, source: { kind: "import", fileId }, identity: { sizeBytes: content.length } };
}

const madeOf = (base: PinnedFile, more: Partial<MachineRecord> = {}) =>
  ({ id: "m", name: "m", base, behindBase: [], configuration: {}, ...more }) as unknown as MachineRecord;

it.each([
  ["on a server", served],
  ["in this browser", imported],
])("finds the snapshots of a base %s", async (_where, keep) => {
  const has = async (...names: string[]) =>
    baseHasSnapshots(madeOf(await keep(await image(...names))), signal);
  expect(await has("before")).toBe(true);
  expect(await has()).toBe(false);
  // What a save left that never came to its end.
  expect(await has("(unfinished save)")).toBe(false);
});

it("looks into nothing that is no qcow2 image", async () => {
  const source = { kind: "import", fileId: "none" } as const;
  const base = { name: "disk.img", source, identity: { sizeBytes: 1 } };
  expect(await baseHasSnapshots(madeOf({ ...base, format: "raw" }), signal)).toBe(false);
  expect(await baseHasSnapshots(madeOf(base, { bootsFrom: "cdrom" }), signal)).toBe(false);
});

it("does not know it of a file whose copy is not whole", async () => {
  const source = { kind: "import", fileId: "not begun" } as const;
  const base = { name: "base.qcow2", source, identity: { sizeBytes: 1 } };
  await expect(baseHasSnapshots(madeOf(base), signal)).rejects.toMatchObject({ code: "NOT_FOUND" });
});
