import "fake-indexeddb/auto";
import { beforeEach, expect, it, vi } from "vitest";
import { createMemoryFile, createQcow2, openIndexedDbFile } from "../../disk/index.ts";
import { type Machine, startMachine } from "../../emulator/index.ts";
import { blockStore, storedFiles } from "../library/block-store.ts";
import { library } from "../library/library.ts";
import type { MachineRecord } from "../library/machine-record.ts";
import { type OpenRequest, openMachine } from "./open-machine.ts";
import { createProgress } from "./progress.ts";

const MIB = 1024 * 1024;

vi.mock("../../emulator/index.ts", async (original) => ({
  ...(await original<typeof import("../../emulator/index.ts")>()),
  startMachine: vi.fn(),
}));
vi.mock("./emulator-files.ts", async () => {
  const { ByreError } = await import("../../disk/index.ts");
  return {
    fetchEmulatorFiles: async () => ({ firmware: {} }),
    cancelled: () => new ByreError("CANCELLED", "Called off."),
  };
});
vi.mock("./state-packer.ts", () => ({ statePacker: () => undefined }));

let abort = new AbortController();
let switchedOff = 0;

/** Runs as soon as it is started, whoever calls that off. */
function machineThatRuns(): Machine {
  return { close: async () => void switchedOff++ } as Partial<Machine> as Machine;
}

function open(request: OpenRequest) {
  return openMachine(request, {
    progress: createProgress(),
    signal: abort.signal,
    askResume: () => Promise.reject(new Error("nothing is to be asked")),
    askStart: () => Promise.reject(new Error("nothing is to be asked")),
  });
}

async function imageFile(): Promise<File> {
  const content = createMemoryFile({ name: "disk.qcow2" });
  await createQcow2(content, { sizeBytes: MIB });
  return new File([content.toBytes()], "disk.qcow2", { lastModified: 1 });
}

beforeEach(() => {
  abort = new AbortController();
  switchedOff = 0;
  vi.stubGlobal("document", { createElement: () => ({}) });
  vi.stubGlobal("navigator", {
    locks: {
      request: (_name: string, options: unknown, held?: unknown) =>
        ((held ?? options) as (lock: object) => unknown)({}),
    },
  });
});

it("keeps nothing of a new machine that is called off while it starts", async () => {
  vi.mocked(startMachine).mockImplementation(async () => {
    abort.abort();
    return machineThatRuns();
  });
  const kept = vi.spyOn(library, "put");
  await expect(open({ kind: "files", files: [await imageFile()] })).rejects.toMatchObject({
    code: "CANCELLED",
  });
  expect(switchedOff).toBe(1);
  expect(kept).not.toHaveBeenCalled();
  kept.mockRestore();
  expect(await storedFiles()).toEqual([]);
});

it("forgets a new machine that is called off while it is being kept", async () => {
  vi.mocked(startMachine).mockImplementation(async () => machineThatRuns());
  const end = library.onChange(() => abort.abort());
  await expect(open({ kind: "files", files: [await imageFile()] })).rejects.toMatchObject({
    code: "CANCELLED",
  });
  end();
  expect(switchedOff).toBe(1);
  expect(await library.list()).toEqual([]);
  expect(await storedFiles()).toEqual([]);
});

it("leaves a kept machine that is called off while it starts as it was", async () => {
  vi.mocked(startMachine).mockImplementation(async () => {
    abort.abort();
    return machineThatRuns();
  });
  const database = await blockStore();
  const overlay = await openIndexedDbFile({ database, fileId: "overlay", name: "overlay", create: true });
  await createQcow2(overlay, { sizeBytes: MIB });
  await overlay.flush();
  await overlay.close();
  const record: MachineRecord = {
    id: "m",
    name: "m",
    createdAt: 0,
    lastUsedAt: 0,
    base: { name: "cd.iso", source: { kind: "import", fileId: "cd" }, identity: { sizeBytes: 1 } },
    behindBase: [],
    overlayFileId: "overlay",
    bootsFrom: "cdrom",
    configuration: {},
    openedAt: 5,
  };
  await library.put(record);
  await expect(open({ kind: "machine", id: "m" })).rejects.toMatchObject({ code: "CANCELLED" });
  expect(switchedOff).toBe(1);
  expect(await library.get("m")).toEqual(record);
});
