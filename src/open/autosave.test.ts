import { afterEach, beforeEach, expect, it, vi } from "vitest";
import type { Machine, MachineState } from "../../emulator/index.ts";
import { startAutosave } from "./autosave.ts";

const MINUTE_MS = 60_000;

beforeEach(() => {
  vi.useFakeTimers();
});

afterEach(() => {
  vi.useRealTimers();
});

/** What the autosave looks at of a machine. */
function machineIn(first: MachineState) {
  const listeners = new Set<() => void>();
  let state = first;
  const machine = {
    get state() {
      return state;
    },
    onChange(listener: () => void) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
  return {
    machine: machine as unknown as Machine,
    listeners,
    become(next: MachineState) {
      state = next;
      for (const listener of listeners) listener();
    },
  };
}

it("saves a running machine every so many minutes", () => {
  const save = vi.fn();
  const { machine, listeners } = machineIn("running");
  const autosave = startAutosave(machine, 5, save);
  vi.advanceTimersByTime(5 * MINUTE_MS - 1);
  expect(save).toHaveBeenCalledTimes(0);
  vi.advanceTimersByTime(5 * MINUTE_MS + 1);
  expect(save).toHaveBeenCalledTimes(2);
  autosave.setMinutes(1);
  vi.advanceTimersByTime(3 * MINUTE_MS);
  expect(save).toHaveBeenCalledTimes(5);
  autosave.setMinutes(0);
  vi.advanceTimersByTime(60 * MINUTE_MS);
  expect(save).toHaveBeenCalledTimes(5);
  autosave.setMinutes(1);
  autosave.end();
  vi.advanceTimersByTime(60 * MINUTE_MS);
  expect(save).toHaveBeenCalledTimes(5);
  expect(listeners.size).toBe(0);
});

it("saves a paused machine once, and again after it ran", () => {
  const save = vi.fn();
  const { machine, become } = machineIn("running");
  const autosave = startAutosave(machine, 1, save);
  become("paused");
  vi.advanceTimersByTime(10 * MINUTE_MS);
  expect(save).toHaveBeenCalledTimes(1);
  become("running");
  become("paused");
  vi.advanceTimersByTime(10 * MINUTE_MS);
  expect(save).toHaveBeenCalledTimes(2);
  autosave.end();
});

it.each(["stopped", "error", "starting"] as const)("saves nothing of a machine that is %s", (state) => {
  const save = vi.fn();
  const { machine, become } = machineIn("running");
  const autosave = startAutosave(machine, 1, save);
  become(state);
  vi.advanceTimersByTime(10 * MINUTE_MS);
  expect(save).not.toHaveBeenCalled();
  autosave.end();
});
