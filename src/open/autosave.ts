import type { Machine } from "../../emulator/index.ts";
import type { AutosaveMinutes } from "../library/machine-record.ts";

/** What the one state is called that a machine saves itself to, again and again. */
export const AUTOSAVE_NAME = "autosave";

const MINUTE_MS = 60_000;

export interface Autosave {
  /** 0 for never. The time counts from now. */
  setMinutes(minutes: AutosaveMinutes): void;
  end(): void;
}

/**
 * Saves a machine every so many minutes while it runs, and once after it was paused.
 *
 * @param save is called when it is time; it must not throw. The next time counts from the last all the same.
 */
export function startAutosave(machine: Machine, minutes: AutosaveMinutes, save: () => void): Autosave {
  let timer: ReturnType<typeof setInterval> | undefined;
  let ranSince = true;
  const endFollowing = machine.onChange(() => {
    if (machine.state === "running") ranSince = true;
  });
  const tick = () => {
    const { state } = machine;
    if (state !== "running" && !(state === "paused" && ranSince)) return;
    ranSince = state === "running";
    save();
  };
  const setMinutes = (next: AutosaveMinutes) => {
    clearInterval(timer);
    timer = next === 0 ? undefined : setInterval(tick, next * MINUTE_MS);
  };
  setMinutes(minutes);
  return {
    setMinutes,
    end() {
      clearInterval(timer);
      endFollowing();
    },
  };
}
