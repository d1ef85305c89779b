import { CircleCheck, CircleX, TriangleAlert } from "lucide-react";
import type { HostCheck } from "./check-host.ts";
import styles from "./host-findings.module.css";

const MARKS = {
  good: { Icon: CircleCheck, word: "Good" },
  poor: { Icon: TriangleAlert, word: "Could be better" },
  bad: { Icon: CircleX, word: "Has to be mended" },
} as const;

/** What was found about a server, each with how to mend it. */
export function HostFindings({ check: { findings, works } }: { check: HostCheck }) {
  return (
    <>
      <ul className={styles.findings}>
        {findings.map(({ level, what, remedy }) => {
          const { Icon, word } = MARKS[level];
          return (
            <li key={what} className={`${styles.finding} ${styles[level]}`}>
              <Icon size={18} role="img" aria-label={word} />
              <div className={styles.text}>
                {what}
                {remedy && <p className={styles.remedy}>{remedy}</p>}
              </div>
            </li>
          );
        })}
      </ul>
      {!works && <p>There is no link yet: it would not start this machine.</p>}
    </>
  );
}
