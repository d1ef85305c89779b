import { useEffect, useRef } from "react";
import { SidePanel } from "../components/side-panel.tsx";
import type { MachineSession } from "../open/machine-session.ts";
import { AutosaveChoice } from "./autosave-choice.tsx";
import { BaseSnapshots } from "./base-snapshots.tsx";
import { ExportForm, isBusy } from "./export-form.tsx";
import { SnapshotItem } from "./snapshot-item.tsx";
import styles from "./snapshot-panel.module.css";
import { SnapshotSaveForm } from "./snapshot-save-form.tsx";
import { SNAPSHOT_KEYS } from "./use-snapshot-keys.ts";
import { useSnapshots } from "./use-snapshots.ts";

export interface SnapshotPanelProps {
  session: MachineSession;
  state: MachineSession["state"];
  onClose: () => void;
}

/** Moments of a machine's life, kept in its own disk image: what there are, and what can be done with them. */
export function SnapshotPanel({ session, state, onClose }: SnapshotPanelProps) {
  const list = useSnapshots(session);
  const base = session.base && session.base.snapshots.length > 0 ? session.base : undefined;
  const heading = useRef<HTMLHeadingElement>(null);
  const focusHeading = () => heading.current?.focus();
  useEffect(focusHeading, []);
  return (
    <SidePanel
      id="snapshots"
      title="Snapshots"
      closeLabel="Close the snapshots"
      onClose={onClose}
      headingRef={heading}
    >
      <SnapshotSaveForm session={session} state={state} taken={list?.map(nameOf) ?? []} />
      {list?.length === 0 && (
        <div className={styles.empty}>
          <p className={styles.emptyTitle}>{base ? "None of its own yet" : "None yet"}</p>
          <p>
            A snapshot is the whole machine as it is at a moment: its disk, its memory, every program that
            runs. Save one before you try something. Restore it, and it never happened.
          </p>
        </div>
      )}
      {list && list.length > 0 && (
        <>
          <ul className={styles.list}>
            {list.map((listing) => (
              <SnapshotItem
                key={listing.snapshot.id}
                session={session}
                state={state}
                onRestored={() => {
                  if (coversMachine(heading.current)) onClose();
                }}
                onGone={focusHeading}
                {...listing}
              />
            ))}
          </ul>
          <p className={styles.hint}>
            Deleting a snapshot frees what is its own. The rest it shares with the machine or other snapshots.
          </p>
        </>
      )}
      {base && <BaseSnapshots session={session} base={base} />}
      {session.autosaveMinutes !== undefined && <AutosaveChoice session={session} />}
      <section className={styles.section} aria-labelledby="snapshots-export">
        <h3 id="snapshots-export" className={styles.sectionTitle}>
          Export
        </h3>
        <ExportForm
          machine={session}
          isOn={state === "running"}
          isDisabled={isBusy(session)}
          hasSnapshots={list !== undefined && list.length > 0}
          shownElsewhere
        />
      </section>
      <section className={styles.section} aria-labelledby="snapshots-keys">
        <h3 id="snapshots-keys" className={styles.sectionTitle}>
          Keys
        </h3>
        <dl className={styles.keys}>
          <dt>
            <kbd>{SNAPSHOT_KEYS.save}</kbd>
          </dt>
          <dd>quick save</dd>
          <dt>
            <kbd>{SNAPSHOT_KEYS.restore}</kbd>
          </dt>
          <dd>back to the quick save</dd>
          <dt>
            <kbd>Ctrl-Alt-G</kbd>
          </dt>
          <dd>keys from the machine to this page</dd>
        </dl>
      </section>
    </SidePanel>
  );
}

/** On a narrow window the panel lies over the machine, which a person who has restored it wants to see. */
function coversMachine(heading: HTMLElement | null): boolean {
  const panel = heading?.closest("aside");
  return panel ? getComputedStyle(panel).position === "absolute" : false;
}

function nameOf({ snapshot }: { snapshot: { name: string } }): string {
  return snapshot.name;
}
