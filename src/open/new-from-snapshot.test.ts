import "fake-indexeddb/auto";
import { afterEach, beforeEach, expect, inject, it, vi } from "vitest";
import { ByreError, createMemoryFile, createQcow2, openIndexedDbFile, openQcow2 } from "../../disk/index.ts";
import { blockStore, storedFiles } from "../library/block-store.ts";
import { library } from "../library/library.ts";
import { newId, type PinnedFile } from "../library/machine-record.ts";
import type { SessionParts } from "./create-session.ts";
import { machineFromBase, machineFromSnapshot } from "./new-from-snapshot.ts";
import { createProgress } from "./progress.ts";
import { makeDrives, type OpenDrives, openDrives } from "./record-drives.ts";

const MOMENT = { name: "ready", dateSeconds: 1, dateNanoseconds: 0 };
const BASE: PinnedFile = {
  name: "base.img",
  source: { kind: "url", url: "https://example.org/base.img" },
  identity: { sizeBytes: 1024 * 1024 },
};
const remote = () => ({ progress: createProgress(), signal: new AbortController().signal });

let close = async () => {};

beforeEach(() => {
  // There are no other tabs.
  vi.stubGlobal("navigator", {});
});

afterEach(async () => {
  await close();
  vi.restoreAllMocks();
  vi.unstubAllGlobals();
});

/** A second disk's address. */
async function serveDisk(): Promise<string> {
  const hdb = `${inject("httpTestServer")}/${crypto.randomUUID()}`;
  await fetch(hdb, { method: "PUT", body: new Uint8Array(1024 * 1024).fill(9) });
  return hdb;
}

async function ownFloppy(): Promise<PinnedFile> {
  const fileId = newId();
  const name = "floppy.img";
  const file = await openIndexedDbFile({ database: await blockStore(), fileId, name, create: true });
  file.write(0, new Uint8Array(1_474_560).fill(4));
  await file.flush();
  await file.close();
  return { name, source: { kind: "import", fileId }, identity: { sizeBytes: 1_474_560 } };
}

/** What is used of a machine that is on and has a state, `ready`, on both of its disks. */
async function machineWith(drives: OpenDrives) {
  const file = createMemoryFile({ name: "first" });
  await createQcow2(file, { sizeBytes: 1024 * 1024 });
  const device = await openQcow2(file, { writable: true });
  const { id } = await device.createSnapshot(MOMENT);
  await drives.disks.hdb?.write(0, new Uint8Array(512).fill(3));
  await drives.disks.hdb?.createSnapshot(MOMENT);
  close = async () => {
    await drives.close();
    await device.close();
  };
  const machine = { flush: async () => {} };
  const parts = { name: "m", machine, disk: { device }, drives, pins: [BASE], wishes: { configuration: {} } };
  return { id, machine, parts: parts as unknown as SessionParts };
}

/** A machine that writes to a second disk and to a floppy in this browser. */
async function machineWithBoth() {
  const made = await makeDrives({ hdb: await serveDisk() }, true, remote());
  await made.close();
  return machineWith(await openDrives({ ...made.record, floppy: await ownFloppy() }, remote()));
}

const fileIds = async () => (await storedFiles()).map(({ fileId }) => fileId).sort();

it("makes a machine with the second disk of one that is thrown away", async () => {
  const { id, parts } = await machineWith(await makeDrives({ hdb: await serveDisk() }, false, remote()));
  await parts.drives.disks.hdb?.write(0, new Uint8Array(1024).fill(5));
  const made = await machineFromSnapshot(parts, id, { onProgress: () => {}, signal: remote().signal });
  const drives = await openDrives((await library.get(made))?.drives, remote());
  const bytes = new Uint8Array(1024);
  await drives.disks.hdb?.read(0, bytes);
  // As it was in the state, over the base.
  expect([...new Set(bytes)]).toEqual([3, 9]);
  expect(drives.disks.hdb?.snapshots).toMatchObject([{ name: "ready" }]);
  await drives.close();
});

it("keeps nothing of a machine that is called off while its second disk is copied", async () => {
  const { id, machine, parts } = await machineWithBoth();
  const before = await fileIds();
  const abort = new AbortController();
  // The first disk is copied before, and the others after.
  machine.flush = async () => abort.abort();
  const hooks = { onProgress: () => {}, signal: abort.signal };
  await expect(machineFromSnapshot(parts, id, hooks)).rejects.toMatchObject({ code: "CANCELLED" });
  expect(await fileIds()).toEqual(before);
});

it("keeps nothing of a machine whose record cannot be kept", async () => {
  const { id, parts } = await machineWithBoth();
  const before = await fileIds();
  const put = vi.spyOn(library, "put").mockRejectedValue(new ByreError("QUOTA_EXCEEDED", "full"));
  const hooks = { onProgress: () => {}, signal: remote().signal };
  await expect(machineFromSnapshot(parts, id, hooks)).rejects.toMatchObject({ code: "QUOTA_EXCEEDED" });
  expect(put).toHaveBeenCalledOnce();
  expect(await fileIds()).toEqual(before);
});

/** A base with a snapshot of its disk, `then`, and another disk now; open as `at` has it, if that is given. */
async function baseWith(at?: string) {
  const file = createMemoryFile({ name: "base.img" });
  await createQcow2(file, { sizeBytes: 1024 * 1024 });
  const device = await openQcow2(file, { writable: true });
  await device.write(0, new Uint8Array(512).fill(1));
  await device.createSnapshot({ name: "then" });
  await device.write(0, new Uint8Array(512).fill(2));
  await device.createSnapshot({ name: "later" });
  return at === undefined ? device : device.openSnapshot(at);
}

async function overlayOf(machineId: string) {
  const record = await library.get(machineId);
  if (!record) throw new Error("it was not kept");
  const name = "overlay";
  const file = await openIndexedDbFile({ database: await blockStore(), fileId: record.overlayFileId, name });
  const overlay = await openQcow2(file, { writable: false, backing: "none" });
  await overlay.close();
  return { record, backingName: overlay.header.backingName };
}

it("makes a machine of a snapshot of the base, whose other disks are as they came", async () => {
  const { parts } = await machineWithBoth();
  const hooks = { onProgress: () => {}, signal: remote().signal };
  const id = await machineFromBase(parts, await baseWith(), "1", hooks);
  const { record, backingName } = await overlayOf(id);
  expect(record).toMatchObject({
    name: "m then",
    base: BASE,
    baseSnapshot: { id: "1", name: "then" },
  });
  expect(backingName).toBe("base@1.img");
  const drives = await openDrives(record.drives, remote());
  const bytes = new Uint8Array(512);
  await drives.disks.hdb?.read(0, bytes);
  // As its own base has it, and not as the open machine has written it.
  expect([...new Set(bytes)]).toEqual([9]);
  expect(drives.disks.hdb?.snapshots).toEqual([]);
  // The floppy is a copy: each machine writes to its own.
  expect(drives.record?.floppy?.source).not.toEqual(parts.drives.record?.floppy?.source);
  await drives.disks.floppy?.read(0, bytes);
  expect([...new Set(bytes)]).toEqual([4]);
  await drives.close();
});

it("names the base as the open machine's overlay does where that is over the same snapshot", async () => {
  const { parts } = await machineWithBoth();
  Object.assign(parts.disk.device.header, { backingName: "base@1.img" });
  const hooks = { onProgress: () => {}, signal: remote().signal };
  const base = await baseWith("then");
  const nameAt = async (snapshot: string) =>
    (await overlayOf(await machineFromBase(parts, base, snapshot, hooks))).backingName;
  expect(await nameAt("1")).toBe("base@1.img");
  expect(await nameAt("2")).toBe("base@2.img");
});

it("keeps nothing of a machine over a snapshot of the base that is called off", async () => {
  const { parts, machine } = await machineWithBoth();
  const before = await fileIds();
  const abort = new AbortController();
  machine.flush = async () => abort.abort();
  const hooks = { onProgress: () => {}, signal: abort.signal };
  const made = machineFromBase(parts, await baseWith(), "1", hooks);
  await expect(made).rejects.toMatchObject({ code: "CANCELLED" });
  expect(await fileIds()).toEqual(before);
});
