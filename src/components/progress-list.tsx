import { Check } from "lucide-react";
import type { ProgressStep } from "../open/progress.ts";
import { formatBytes } from "./format.ts";
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
          <progress className={styles.bar} aria-label={step.label} max={1} {...barValue(step)} />
        </li>
      ))}
    </ul>
  );
}

function amountOf({ loadedBytes, totalBytes }: ProgressStep): string {
  if (totalBytes === undefined) return loadedBytes === 0 ? "waiting" : formatBytes(loadedBytes);
  return `${formatBytes(loadedBytes)} of ${formatBytes(totalBytes)}`;
}

/** Without a value the bar says that something is going on, and not how much. */
function barValue({ loadedBytes, totalBytes, done }: ProgressStep): { value?: number } {
  if (done) return { value: 1 };
  return totalBytes ? { value: Math.min(1, loadedBytes / totalBytes) } : {};
}
