import { describe, expect, it } from "vitest";
import type { Qcow2Snapshot } from "../../disk/index.ts";
import type { MachineRecord } from "../library/machine-record.ts";
import { planStart } from "./start-plan.ts";

const OPENED_AT = 1_000_000;

function record(change: Partial<MachineRecord> = {}): MachineRecord {
  return {
    id: "m",
    name: "m",
    createdAt: 0,
    lastUsedAt: 0,
    base: {
      name: "a",
      source: { kind: "url", url: "https://example.org/a" },
      identity: { sizeBytes: 1 },
    },
    behindBase: [],
    overlayFileId: "overlay",
    configuration: {},
    ...change,
  };
}

function snapshot(id: string, name: string, atMs: number): Qcow2Snapshot {
  return {
    id,
    name,
    dateSeconds: Math.floor(atMs / 1000),
    dateNanoseconds: (atMs % 1000) * 1_000_000,
    vmClockNanoseconds: 0n,
    vmStateBytes: 1,
    diskBytes: 1,
    icount: undefined,
    l1OffsetBytes: 0,
    l1Entries: 0,
    extraData: new Uint8Array(),
  };
}

function plan(change: Partial<MachineRecord>, snapshots: Qcow2Snapshot[] = [], pristine = false) {
  return planStart(record(change), { snapshots, pristine });
}

const SUSPENDED = snapshot("1", "suspended", OPENED_AT - 500);
const AUTOSAVED = snapshot("2", "autosave", OPENED_AT + 500);
const ref = (of: Qcow2Snapshot, atMs: number) => ({ id: of.id, atMs });

describe("a machine that was switched off", () => {
  it("boots, whatever states it has", () => {
    expect(plan({}, [SUSPENDED, AUTOSAVED])).toEqual({ kind: "boot" });
  });

  it("goes on from its base's state while nothing was ever written", () => {
    const baseSnapshot = { id: "7", name: "ready" };
    expect(plan({ baseSnapshot }, [], true)).toEqual({ kind: "base", snapshot: baseSnapshot });
    expect(plan({ baseSnapshot }, [], false)).toEqual({ kind: "boot" });
    expect(plan({ baseSnapshot: { ...baseSnapshot, diskOnly: true } }, [], true)).toEqual({ kind: "boot" });
  });
});

describe("a suspended machine", () => {
  const suspended = ref(SUSPENDED, OPENED_AT - 500);

  it("goes on from there", () => {
    expect(plan({ suspended }, [SUSPENDED])).toEqual({ kind: "own", state: suspended });
  });

  it("boots when the state is gone, or is another one with the same id", () => {
    expect(plan({ suspended }, [])).toEqual({ kind: "boot" });
    expect(plan({ suspended }, [snapshot("1", "mine", OPENED_AT)])).toEqual({ kind: "boot" });
  });
});

describe("a machine that was not switched off", () => {
  it("asks about what it saved since it was opened", () => {
    expect(plan({ openedAt: OPENED_AT }, [SUSPENDED, AUTOSAVED])).toEqual({
      kind: "ask",
      state: ref(AUTOSAVED, OPENED_AT + 500),
    });
  });

  it("boots when it saved nothing since, or only what a person named", () => {
    const earlier = snapshot("2", "autosave", OPENED_AT - 1);
    const named = snapshot("3", "mine", OPENED_AT + 500);
    expect(plan({ openedAt: OPENED_AT }, [earlier, named])).toEqual({ kind: "boot" });
  });

  it("asks about a suspend that the record did not hear of any more", () => {
    const late = snapshot("3", "suspended", OPENED_AT + 900);
    expect(plan({ openedAt: OPENED_AT }, [AUTOSAVED, late])).toEqual({
      kind: "ask",
      state: ref(late, OPENED_AT + 900),
    });
  });

  it("asks about the state it was started from, unless it does not save itself", () => {
    const startedFrom = ref(SUSPENDED, OPENED_AT - 500);
    expect(plan({ openedAt: OPENED_AT, startedFrom }, [SUSPENDED])).toEqual({
      kind: "ask",
      state: startedFrom,
    });
    expect(plan({ openedAt: OPENED_AT, startedFrom, autosaveMinutes: 0 }, [SUSPENDED])).toEqual({
      kind: "boot",
    });
  });

  it("goes on from its base's state when nothing was ever written", () => {
    const baseSnapshot = { id: "7", name: "ready" };
    expect(plan({ openedAt: OPENED_AT, baseSnapshot }, [], true)).toEqual({
      kind: "base",
      snapshot: baseSnapshot,
    });
  });
});
