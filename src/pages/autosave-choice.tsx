import { useId, useState } from "react";
import { Notice } from "../components/notice.tsx";
import { AUTOSAVE_MINUTES, type AutosaveMinutes } from "../library/machine-record.ts";
import type { MachineSession } from "../open/machine-session.ts";
import styles from "./autosave-choice.module.css";

const WORDS: Record<AutosaveMinutes, string> = {
  0: "Off",
  1: "Every minute",
  5: "Every 5 minutes",
  15: "Every 15 minutes",
};

/** How often the machine is saved by itself. */
export function AutosaveChoice({ session }: { session: MachineSession }) {
  const id = useId();
  const [failure, setFailure] = useState<string>();
  const choose = (value: string) => {
    const minutes = AUTOSAVE_MINUTES.find((each) => String(each) === value);
    if (minutes === undefined) return;
    setFailure(undefined);
    session.setAutosaveMinutes(minutes).catch((error: Error) => setFailure(error.message));
  };
  return (
    <section className={styles.autosave}>
      <label htmlFor={id} className={styles.label}>
        Autosave
      </label>
      <select
        id={id}
        className={styles.select}
        value={session.autosaveMinutes}
        aria-describedby={`${id}-hint`}
        onChange={(event) => choose(event.target.value)}
      >
        {AUTOSAVE_MINUTES.map((minutes) => (
          <option key={minutes} value={minutes}>
            {WORDS[minutes]}
          </option>
        ))}
      </select>
      <p id={`${id}-hint`} className={styles.hint}>
        {session.autosaveMinutes === 0
          ? "When the tab is closed or crashes, the machine boots its disk the next time, as after a power cut."
          : "When the tab is closed or crashes, you can go on from the last one."}
      </p>
      {failure && <Notice tone="danger">{failure}</Notice>}
    </section>
  );
}
