import type { ReactNode } from "react";
import styles from "./buttons.module.css";

/** Buttons in a row, or in several where it is narrow. */
export function Buttons({ children }: { children: ReactNode }) {
  return <div className={styles.buttons}>{children}</div>;
}
