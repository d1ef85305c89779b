import "fake-indexeddb/auto";
import { beforeEach, describe, expect, it } from "vitest";
import type { Machine, MachineState } from "../../emulator/index.ts";
import { library } from "../library/library.ts";
import type { MachineRecord } from "../library/machine-record.ts";
import { RunMark } from "./run-mark.ts";

const STATE = { id: "1", atMs: 5 };
const OTHER = { id: "2", atMs: 6 };

let record: MachineRecord;

beforeEach(async () => {
  record = {
    id: "m",
    name: "m",
    createdAt: 0,
    lastUsedAt: 0,
    base: { name: "a", source: { kind: "url", url: "https://example.org/a" }, identity: { sizeBytes: 1 } },
    behindBase: [],
    overlayFileId: "overlay",
    configuration: {},
    suspended: STATE,
  };
  await library.put(record);
});

async function kept() {
  const { openedAt, startedFrom, suspended } = (await library.get("m")) ?? {};
  return { on: openedAt !== undefined, startedFrom, suspended };
}

const ON = { on: true, startedFrom: undefined, suspended: undefined };
const OFF = { on: false, startedFrom: undefined, suspended: undefined };

/** What the mark looks at of a machine. */
function machineThatRuns() {
  const listeners = new Set<() => void>();
  const machine = {
    state: "running" as MachineState,
    onChange(listener: () => void) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    become(state: MachineState) {
      machine.state = state;
      for (const listener of listeners) listener();
    },
  };
  return machine;
}

describe("a start", () => {
  it("is marked before it is made", async () => {
    const mark = new RunMark(record);
    const seen = await mark.starting(STATE, kept);
    expect(seen).toEqual({ on: true, startedFrom: STATE, suspended: undefined });
    expect(await kept()).toEqual(seen);
    expect(mark.suspended).toBeUndefined();
  });

  it("that fails leaves the mark as it was", async () => {
    const mark = new RunMark(record);
    const failing = mark.starting(OTHER, () => Promise.reject(new Error("no start")));
    await expect(failing).rejects.toThrow("no start");
    expect(await kept()).toEqual({ on: false, startedFrom: undefined, suspended: STATE });
    expect(mark.suspended).toEqual(STATE);
  });
});

describe("a machine that runs", () => {
  it("is off once it was switched off, and on when it is switched on again", async () => {
    const mark = new RunMark(record);
    const machine = machineThatRuns();
    await mark.starting(STATE, async () => {});
    const end = mark.follow(machine as unknown as Machine);
    machine.become("paused");
    machine.become("stopped");
    await mark.settled();
    expect(await kept()).toEqual(OFF);
    machine.become("running");
    await mark.settled();
    expect(await kept()).toEqual(ON);
    end();
    machine.become("stopped");
    await mark.settled();
    expect(await kept()).toEqual(ON);
  });

  it("is never off and not suspended while it is being suspended", async () => {
    const mark = new RunMark(record);
    const machine = machineThatRuns();
    await mark.starting(undefined, async () => {});
    mark.follow(machine as unknown as Machine);
    await mark.suspending(async () => {
      machine.become("stopped");
      await mark.settled();
      expect(await kept()).toEqual(ON);
      return OTHER;
    });
    expect(await kept()).toEqual({ on: false, startedFrom: undefined, suspended: OTHER });
    await mark.forgetSuspended();
    expect(await kept()).toEqual(OFF);
  });

  it("that cannot be suspended is marked as what it is then", async () => {
    const mark = new RunMark(record);
    const machine = machineThatRuns();
    await mark.starting(undefined, async () => {});
    mark.follow(machine as unknown as Machine);
    const failing = mark.suspending(async () => {
      machine.become("stopped");
      throw new Error("no room");
    });
    await expect(failing).rejects.toThrow("no room");
    await mark.settled();
    expect(await kept()).toEqual(OFF);
  });
});
