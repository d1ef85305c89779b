import { Check } from "lucide-react";
import type { ProgressStep } from "../open/progress.ts";
import { formatBytes } from "./format.ts";
import { ProgressBar } from "./progress-bar.tsx";
import styles from "./progress-list.module.css";

/** What is being fetched, and how much of how much. */
export function ProgressList({ steps }: { steps: readonly ProgressStep[] }) {
  return (
    <ul className={styles.list}>
      {steps.map((step) => (
        <li key={step.key} className={styles.step}>
          <span className={styles.label}>{step.label}</span>
          <span className={styles.amount}>
            {amountOf(step)}
            {step.done && <Check size={14} aria-label="done" />}
          </span>
          <ProgressBar label={step.label} fraction={fractionOf(step)} />
        </li>
      ))}
    </ul>
  );
}

function amountOf({ loadedBytes, totalBytes }: ProgressStep): string {
  if (totalBytes === undefined) return loadedBytes === 0 ? "waiting" : formatBytes(loadedBytes);
  return `${formatBytes(loadedBytes)} of ${formatBytes(totalBytes)}`;
}

function fractionOf({ loadedBytes, totalBytes, done }: ProgressStep): number | undefined {
  if (done) return 1;
  return totalBytes ? loadedBytes / totalBytes : undefined;
}
