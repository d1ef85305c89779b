import { Info, TriangleAlert } from "lucide-react";
import type { ReactNode } from "react";
import styles from "./notice.module.css";

export interface NoticeProps {
  tone: "neutral" | "caution" | "danger";
  title?: ReactNode;
  /** For programs and for a report; shown small. */
  code?: string;
  children?: ReactNode;
  /** Buttons. */
  actions?: ReactNode;
}

/** A line or two in the flow of the page, where other programs would open a dialog. */
export function Notice({ tone, title, code, children, actions }: NoticeProps) {
  const Icon = tone === "neutral" ? Info : TriangleAlert;
  return (
    <div className={`${styles.notice} ${styles[tone]}`} role={tone === "danger" ? "alert" : "status"}>
      <Icon className={styles.icon ?? ""} size={18} aria-hidden="true" />
      <div className={styles.text}>
        {title && <p className={styles.title}>{title}</p>}
        {children}
        {code && <code className={styles.code}>{code}</code>}
      </div>
      {actions && <div className={styles.actions}>{actions}</div>}
    </div>
  );
}
