import { useState } from "react";
import { Button } from "../components/button.tsx";
import { ProgressBar } from "../components/progress-bar.tsx";
import type { SessionActivity } from "../open/machine-session.ts";
import styles from "./activity-progress.module.css";
import { shownName } from "./snapshot-names.ts";

export interface ActivityProgressProps {
  activity: SessionActivity;
  machineName: string;
}

/** What is being saved or restored, how far it is, and a way to call it off. */
export function ActivityProgress({ activity, machineName }: ActivityProgressProps) {
  const [called, setCalled] = useState(false);
  const { fraction, cancel } = activity;
  const words = activityWords(activity, machineName);
  return (
    <div className={styles.activity}>
      <span className={styles.words} role="status">
        {words}
      </span>
      <span className={styles.percent}>{Math.floor(fraction * 100)} %</span>
      <ProgressBar label={words} fraction={fraction} />
      {cancel && (
        <Button
          isDisabled={called}
          onPress={() => {
            setCalled(true);
            cancel();
          }}
        >
          Cancel
        </Button>
      )}
    </div>
  );
}

export function activityWords({ kind, name }: SessionActivity, machineName: string): string {
  switch (kind) {
    case "saving":
      return `Saving ${shownName({ id: "", name })}`;
    case "loading":
      return `Restoring ${shownName({ id: "", name })}`;
    case "suspending":
      return `Suspending ${machineName}`;
    case "autosaving":
      return "Autosaving";
    case "exporting":
      return `Exporting ${machineName}`;
  }
}
