import "fake-indexeddb/auto";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { ByreError, type Qcow2Snapshot } from "../../disk/index.ts";
import type { Machine, SaveOptions } from "../../emulator/index.ts";
import { library } from "../library/library.ts";
import type { MachineRecord } from "../library/machine-record.ts";
import { waitFor } from "../testing/wait-for.ts";
import type { SessionParts } from "./create-session.ts";
import { RunMark } from "./run-mark.ts";
import { SessionStates } from "./session-states.ts";

const MINUTE_MS = 60_000;

const RECORD: MachineRecord = {
  id: "m",
  name: "m",
  createdAt: 0,
  lastUsedAt: 0,
  base: { name: "a", source: { kind: "url", url: "https://example.org/a" }, identity: { sizeBytes: 1 } },
  behindBase: [],
  overlayFileId: "overlay",
  configuration: {},
  autosaveMinutes: 1,
};

function snapshot(id: string, name: string): Qcow2Snapshot {
  return {
    id,
    name,
    dateSeconds: Number(id),
    dateNanoseconds: 0,
    vmClockNanoseconds: 0n,
    vmStateBytes: 1,
    diskBytes: 1,
    icount: undefined,
    l1OffsetBytes: 0,
    l1Entries: 0,
    extraData: new Uint8Array(),
  };
}

/** What is used of a machine: it keeps a list, and saves until it is told to fail. */
function machineWith(snapshots: Qcow2Snapshot[]) {
  return {
    state: "running",
    failure: undefined as ByreError | undefined,
    loaded: [] as string[],
    keyboard: { sendScancodes: async () => {} },
    onChange: () => () => {},
    snapshots: () => snapshots,
    async save(name: string, _options?: SaveOptions) {
      if (this.failure) throw this.failure;
      const saved = snapshot(String(snapshots.length + 1), name);
      snapshots.push(saved);
      return saved;
    },
    async load(id: string) {
      this.loaded.push(id);
    },
    async deleteSnapshot(id: string) {
      snapshots.splice(
        snapshots.findIndex((each) => each.id === id),
        1,
      );
    },
  };
}

function statesOf(machine: ReturnType<typeof machineWith>, record: MachineRecord | undefined) {
  const changed = vi.fn();
  const mark = record && new RunMark(record);
  const parts = { record, name: "m", machine: machine as unknown as Machine, mark } as SessionParts;
  return { states: new SessionStates(parts, changed), mark, changed };
}

describe("a machine that saves itself", () => {
  beforeEach(() => {
    // Not what the fake database waits with.
    vi.useFakeTimers({ toFake: ["setInterval", "clearInterval"] });
  });

  afterEach(() => {
    vi.useRealTimers();
  });

  it("says what went wrong, and takes it back when the next time works", async () => {
    const machine = machineWith([]);
    machine.failure = new ByreError("QUOTA_EXCEEDED", "The storage is full.");
    const { states, changed } = statesOf(machine, RECORD);
    for (let time = 0; time < 2; time++) {
      vi.advanceTimersByTime(MINUTE_MS);
      await states.quietly(async () => {});
      await waitFor(() => expect(states.activity).toBeUndefined());
    }
    await waitFor(() =>
      expect(states.notices).toEqual([
        { id: "autosave", code: "QUOTA_EXCEEDED", message: "m could not save itself. The storage is full." },
      ]),
    );
    machine.failure = undefined;
    changed.mockClear();
    vi.advanceTimersByTime(MINUTE_MS);
    await waitFor(() => expect(states.notices).toEqual([]));
    expect(changed).toHaveBeenCalled();
    expect(states.list()).toMatchObject([{ name: "autosave" }]);
    states.end();
  });

  it("leaves it when something else is being done", async () => {
    const machine = machineWith([]);
    const { states } = statesOf(machine, RECORD);
    await states.quietly(async () => {
      vi.advanceTimersByTime(MINUTE_MS);
    });
    // Whatever was put in line meanwhile is done before this.
    await states.quietly(async () => {});
    expect(machine.snapshots()).toEqual([]);
    states.end();
  });
});

it("finds a state by id before name, and of several with one name the newest", async () => {
  const machine = machineWith([snapshot("1", "2"), snapshot("2", "same"), snapshot("3", "same")]);
  const { states } = statesOf(machine, undefined);
  expect(states.find("2").id).toBe("2");
  await states.load("same");
  expect(machine.loaded).toEqual(["3"]);
  expect(() => states.find("other")).toThrow('no saved state "other"');
});

it("is busy until all that was asked for is over, whatever came of it", async () => {
  const { states } = statesOf(machineWith([]), undefined);
  const order: string[] = [];
  const failing = states.startNew("none").catch(({ code }) => order.push(code));
  const exporting = states.export({}, async () => void order.push("exported"));
  expect(states.busy).toBe(true);
  await states.settled();
  expect(order).toEqual(["SNAPSHOT_NOT_FOUND", "exported"]);
  expect(states.busy).toBe(false);
  await Promise.all([failing, exporting]);
});

it("suspends a machine that is kept, and forgets that when the state is deleted", async () => {
  await library.put(RECORD);
  const machine = machineWith([]);
  const { states, mark } = statesOf(machine, RECORD);
  await states.suspend();
  expect((await library.get("m"))?.suspended).toEqual({ id: "1", atMs: 1000 });
  await states.delete("suspended");
  expect(mark?.suspended).toBeUndefined();
  expect((await library.get("m"))?.suspended).toBeUndefined();
  states.end();
});

it("does not suspend a machine that is thrown away", async () => {
  const { states } = statesOf(machineWith([]), undefined);
  await expect(states.suspend()).rejects.toMatchObject({ code: "UNSUPPORTED_FEATURE" });
  await expect(states.setAutosaveMinutes(1)).rejects.toMatchObject({ code: "UNSUPPORTED_FEATURE" });
  expect(states.autosaveMinutes).toBeUndefined();
});
