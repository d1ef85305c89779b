import { useRef } from "react";
import type { MachineListing } from "../library/use-machines.ts";
import { isFocusLost } from "./focus-lost.ts";
import styles from "./gallery-page.module.css";
import { MachineRow } from "./machine-row.tsx";
import { StorageLine } from "./storage-line.tsx";

export interface MachineSectionProps {
  /** All that this browser keeps; undefined until they were read. */
  machines: readonly MachineListing[] | undefined;
  /** Those of them that were searched for, in order. */
  shown: readonly MachineListing[] | undefined;
  search: string;
}

/** The machines that this browser keeps. */
export function MachineSection({ machines, shown, search }: MachineSectionProps) {
  const heading = useRef<HTMLHeadingElement>(null);
  const keepFocus = () => {
    if (isFocusLost()) heading.current?.focus();
  };
  return (
    <section aria-labelledby="machines" className={styles.section}>
      <h2 id="machines" className={styles.heading} tabIndex={-1} ref={heading}>
        Yours
      </h2>
      {shown && shown.length > 0 ? (
        <ul className={styles.rows}>
          {shown.map((machine) => (
            <MachineRow key={machine.record.id} {...machine} onGone={keepFocus} />
          ))}
        </ul>
      ) : (
        <div className={styles.empty} aria-busy={machines === undefined}>
          {machines?.length === 0 && (
            <>
              <p className={styles.emptyTitle}>None yet</p>
              <p>
                Start an appliance below, or drop an image of a disk, CD or floppy anywhere on this page. Its
                disk is kept here, so you find everything as you left it.
              </p>
            </>
          )}
          {machines && machines.length > 0 && (
            <p role="status">
              None of your {machines.length} is called “{search}”.
            </p>
          )}
        </div>
      )}
      {machines && machines.length > 0 && (
        <StorageLine
          storedBytes={machines.reduce((total, { storedBytes }) => total + storedBytes, 0)}
          hasDetails
        />
      )}
    </section>
  );
}
