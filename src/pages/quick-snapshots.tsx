import { useEffect, useRef, useState } from "react";
import { createPortal } from "react-dom";
import { Button } from "../components/button.tsx";
import styles from "../components/floating-cards.module.css";
import { Notice } from "../components/notice.tsx";
import { releaseCodes } from "../machine-tools/scan-codes.ts";
import type { MachineSession, SavedState } from "../open/machine-session.ts";
import { ActivityProgress } from "./activity-progress.tsx";
import { RestoreQuestion } from "./restore-question.tsx";
import { QUICK_NAME } from "./snapshot-names.ts";
import { useFullScreen } from "./use-full-screen.ts";
import { SNAPSHOT_KEYS, useSnapshotKeys } from "./use-snapshot-keys.ts";

export interface QuickSnapshotsProps {
  session: MachineSession;
  state: MachineSession["state"];
  /** Whether the snapshots are shown, which tell of what is going on themselves. */
  snapshotsOpen: boolean;
  /** Whether some panel is shown. */
  panelOpen: boolean;
  run: (action: () => Promise<unknown>) => void;
  /** What went wrong with something else. Said here while a panel is shown, which may lie over the rest. */
  failure: string | undefined;
  onFailureRead: () => void;
}

/** How long a line that needs no answer stays. Long enough to be read, over the guest's screen. */
const STAYS_MS = 4000;

/**
 * Quick save and quick restore by key, and a card over the screen that tells of what is being saved or
 * restored: over it, since a line that comes and goes would make the guest's screen larger and smaller.
 */
export function QuickSnapshots(props: QuickSnapshotsProps) {
  const { session, state, snapshotsOpen, panelOpen, run, failure, onFailureRead } = props;
  const [asking, setAsking] = useState<SavedState>();
  const [said, setSaid] = useState<string>();
  const card = useRef<HTMLDivElement>(null);
  const before = useRef<HTMLElement | null>(null);
  const fullScreen = useFullScreen();
  const { activity } = session;

  useEffect(() => {
    if (!said) return;
    const timer = setTimeout(() => setSaid(undefined), STAYS_MS);
    return () => clearTimeout(timer);
  }, [said]);

  const on = state === "running" || state === "paused";
  const onSave = () => {
    // One at a time: who keeps the keys down or is impatient wants one save.
    if (activity && activity.kind !== "autosaving") return;
    if (!on) return setSaid("Only a machine that is on can be saved.");
    run(async () => {
      // They are down, and must not be in the guest that is saved.
      await session.keyboard.sendScancodes([...releaseCodes("ControlLeft"), ...releaseCodes("AltLeft")]);
      await session.save(QUICK_NAME);
      setSaid(`Saved. ${SNAPSHOT_KEYS.restore} comes back to here.`);
    });
  };
  const onRestore = () => {
    if (activity && activity.kind !== "autosaving") return;
    if (asking) {
      // The same keys again are the answer.
      card.current?.querySelector("button")?.click();
      return;
    }
    const quick = session.snapshots().findLast(({ name }) => name === QUICK_NAME);
    if (!quick) return setSaid(`There is no quick save yet. ${SNAPSHOT_KEYS.save} makes one.`);
    before.current = document.activeElement instanceof HTMLElement ? document.activeElement : null;
    setSaid(undefined);
    setAsking(quick);
  };
  useSnapshotKeys({ onSave, onRestore });

  const answered = () => {
    setAsking(undefined);
    // Back to the guest, if its keys were there.
    before.current?.focus({ preventScroll: true });
  };
  const shownActivity = activity && activity.kind !== "autosaving" && !snapshotsOpen ? activity : undefined;
  const cards = (
    <div className={styles.place}>
      {shownActivity && (
        <div className={styles.card}>
          <ActivityProgress activity={shownActivity} machineName={session.name} />
        </div>
      )}
      {asking && (
        // Not shown while it is done: then the card above says how far it is.
        <div
          className={styles.card}
          role="alertdialog"
          aria-label="Quick restore"
          hidden={activity !== undefined && activity.kind !== "autosaving"}
          ref={card}
          onKeyDown={(event) => event.key === "Escape" && answered()}
        >
          <RestoreQuestion session={session} state={state} snapshot={asking} onEnd={answered} />
        </div>
      )}
      {failure && (panelOpen || fullScreen) && (
        <div className={styles.card}>
          <Notice tone="danger" actions={<Button onPress={onFailureRead}>Understood</Button>}>
            {failure}
          </Notice>
        </div>
      )}
      {said && !asking && !shownActivity && (
        <div className={styles.card}>
          <Notice tone="neutral">{said}</Notice>
        </div>
      )}
    </div>
  );
  // Of a page with something on the full screen nothing else is seen.
  return fullScreen ? createPortal(cards, fullScreen) : cards;
}
