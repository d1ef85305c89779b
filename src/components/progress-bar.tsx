import styles from "./progress-bar.module.css";

export interface ProgressBarProps {
  label: string;
  /** 0 to 1; undefined where nobody knows: the bar then says that something is going on, and not how much. */
  fraction?: number | undefined;
}

export function ProgressBar({ label, fraction }: ProgressBarProps) {
  const value = fraction === undefined ? {} : { value: Math.min(1, fraction) };
  return <progress className={styles.bar} aria-label={label} max={1} {...value} />;
}
