import { useRef, useState } from "react";
import { Button } from "../components/button.tsx";
import type { MachineBase, MachineSession } from "../open/machine-session.ts";
import { BaseSnapshotItem } from "./base-snapshot-item.tsx";
import styles from "./snapshot-panel.module.css";
import { useFocusKept } from "./use-focus-kept.ts";

/** Each is read when it is shown, and a stranger's image may have thousands. */
const SHOWN_AT_ONCE = 5;

export interface BaseSnapshotsProps {
  session: MachineSession;
  base: MachineBase;
}

/** The snapshots of the image that a machine is made of, the newest first. */
export function BaseSnapshots({ session, base }: BaseSnapshotsProps) {
  const [count, setCount] = useState(SHOWN_AT_ONCE);
  const heading = useRef<HTMLHeadingElement>(null);
  useFocusKept(count, heading);
  const { name, snapshots } = base;
  const shown = snapshots.slice(-count).reverse();
  const left = snapshots.length - shown.length;
  return (
    <section className={styles.section} aria-labelledby="snapshots-base">
      <h3 id="snapshots-base" className={styles.sectionTitle} tabIndex={-1} ref={heading}>
        In the image it was made of
      </h3>
      <p className={styles.baseHint}>
        {name} came with {snapshots.length === 1 ? "a snapshot" : "these"}. An export of the machine is
        without {snapshots.length === 1 ? "it" : "them"}: only the machine's own go along.
      </p>
      {session.id === undefined && (
        <p className={styles.baseHint}>
          This machine is thrown away when you leave, so no other is made beside it. Open the image without
          "ephemeral=1" for that.
        </p>
      )}
      <ul className={styles.list}>
        {shown.map((snapshot) => (
          <BaseSnapshotItem key={snapshot.id} session={session} base={base} snapshot={snapshot} />
        ))}
      </ul>
      {left > 0 && (
        <div>
          <Button onPress={() => setCount(count + SHOWN_AT_ONCE)}>
            Show {Math.min(left, SHOWN_AT_ONCE)} more of {left}
          </Button>
        </div>
      )}
    </section>
  );
}
