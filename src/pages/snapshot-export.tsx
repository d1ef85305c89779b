import { Download } from "lucide-react";
import { useState } from "react";
import { Button } from "../components/button.tsx";
import { Buttons } from "../components/buttons.tsx";
import { Notice } from "../components/notice.tsx";
import type { MachineSession } from "../open/machine-session.ts";
import { exportOverlay } from "./machine-actions.ts";
import styles from "./snapshot-panel.module.css";

/** Hands out the machine's disk as a file, with its snapshots or without. */
export function SnapshotExport({
  session,
  hasSnapshots,
}: {
  session: MachineSession;
  hasSnapshots: boolean;
}) {
  const [busy, setBusy] = useState(false);
  const [failure, setFailure] = useState<string>();
  const run = (snapshots: boolean) => {
    setBusy(true);
    setFailure(undefined);
    exportOverlay(session, { snapshots })
      .catch((error: Error) => setFailure(error.message))
      .finally(() => setBusy(false));
  };
  return (
    <section className={styles.section} aria-labelledby="snapshots-export">
      <h3 id="snapshots-export" className={styles.sectionTitle}>
        Export
      </h3>
      <p className={styles.note}>
        The overlay: a qcow2 file with all that this machine wrote. QEMU opens it over the same base.
      </p>
      <Buttons>
        {hasSnapshots && (
          <Button isDisabled={busy} onPress={() => run(true)}>
            <Download size={16} aria-hidden="true" />
            With snapshots
          </Button>
        )}
        <Button isDisabled={busy} onPress={() => run(false)}>
          <Download size={16} aria-hidden="true" />
          {hasSnapshots ? "Without" : "Export overlay"}
        </Button>
      </Buttons>
      {failure && <Notice tone="danger">{failure}</Notice>}
    </section>
  );
}
