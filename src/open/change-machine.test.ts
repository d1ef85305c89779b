import "fake-indexeddb/auto";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { createQcow2, openIndexedDbFile, openQcow2 } from "../../disk/index.ts";
import { blockStore, deleteFiles, storedFiles } from "../library/block-store.ts";
import { library } from "../library/library.ts";
import type { BaseSnapshot } from "../library/machine-record.ts";
import { deleteMachine, resetMachine } from "./change-machine.ts";
import { createProgress } from "./progress.ts";

/** The browser's locks, which all tabs share: each is given to one after the other. */
function createLocks() {
  const last = new Map<string, Promise<unknown>>();
  return {
    request(name: string, ...rest: unknown[]) {
      const hold = rest.at(-1) as () => Promise<unknown>;
      const turn = (last.get(name) ?? Promise.resolve()).then(hold);
      last.set(
        name,
        turn.catch(() => {}),
      );
      return turn;
    },
  };
}

async function makeDisk(fileId: string): Promise<void> {
  const file = await openIndexedDbFile({ database: await blockStore(), fileId, create: true });
  await createQcow2(file, { sizeBytes: 1024 * 1024 });
  await file.flush();
  await file.close();
}

const reset = () => resetMachine("m", { progress: createProgress(), signal: new AbortController().signal });
const fileIds = async () => (await storedFiles()).map(({ fileId }) => fileId).sort();

beforeEach(async () => {
  vi.stubGlobal("navigator", { locks: createLocks() });
  await makeDisk("base");
  await makeDisk("overlay");
  await library.put({
    id: "m",
    name: "m",
    createdAt: 0,
    lastUsedAt: 0,
    base: { name: "base.qcow2", source: { kind: "import", fileId: "base" }, identity: { sizeBytes: 1 } },
    behindBase: [],
    overlayFileId: "overlay",
    configuration: {},
  });
});

afterEach(async () => {
  await deleteFiles(await fileIds());
  vi.unstubAllGlobals();
});

it("leaves no overlay of a machine that another tab resets at the same time", async () => {
  await Promise.all([reset(), reset()]);
  const { overlayFileId } = (await library.get("m")) ?? {};
  expect(await fileIds()).toEqual(["base", overlayFileId].sort());
  await deleteMachine("m");
  expect(await fileIds()).toEqual([]);
});

it("leaves nothing of a machine that is deleted while another tab resets it", async () => {
  await Promise.all([reset(), deleteMachine("m"), deleteMachine("m")]);
  expect(await library.list()).toEqual([]);
  expect(await fileIds()).toEqual([]);
});

it.each<[string, BaseSnapshot]>([
  ["whose name is the id of another", { id: "2", name: "1" }],
  ["that has given its name to a newer one", { id: "3", name: "ready" }],
  ["whose disk alone a person chose", { id: "1", name: "2", diskOnly: true }],
])("resets a machine to the snapshot that it was made on, one %s", async (_, baseSnapshot) => {
  const file = await openIndexedDbFile({ database: await blockStore(), fileId: "base" });
  const base = await openQcow2(file, { writable: true });
  // Their ids count from 1.
  for (const name of ["2", "1", "ready", "ready"]) await base.createSnapshot({ name });
  await base.close();
  await library.update("m", { baseSnapshot });
  await reset();
  expect((await library.get("m"))?.baseSnapshot).toEqual(baseSnapshot);
});
