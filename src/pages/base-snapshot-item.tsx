import { Copy } from "lucide-react";
import { useEffect, useRef, useState } from "react";
import { Button } from "../components/button.tsx";
import { Notice } from "../components/notice.tsx";
import { TimeAgo } from "../components/time-ago.tsx";
import type {
  BaseSnapshotDescription,
  MachineBase,
  MachineSession,
  SavedState,
} from "../open/machine-session.ts";
import { isBusy } from "./export-form.tsx";
import { MachineMade } from "./machine-made.tsx";
import styles from "./snapshot-item.module.css";
import { shownName } from "./snapshot-names.ts";
import { SnapshotPicture } from "./snapshot-picture.tsx";
import { SnapshotProblems } from "./snapshot-problems.tsx";
import { useFocusKept } from "./use-focus-kept.ts";

type Mode =
  | { kind: "rest" | "making" }
  | { kind: "made"; machineId: string }
  | { kind: "failed"; message: string; code: string };

export interface BaseSnapshotItemProps {
  session: MachineSession;
  base: MachineBase;
  snapshot: SavedState;
}

/** One snapshot of the image that a machine is made of: another machine can start from it. */
export function BaseSnapshotItem({ session, base, snapshot }: BaseSnapshotItemProps) {
  const [mode, setMode] = useState<Mode>({ kind: "rest" });
  const { description, failure } = useDescription(base, snapshot.id);
  const button = useRef<HTMLButtonElement>(null);
  const name = shownName(snapshot);
  const diskOnly = description?.problem !== undefined;
  const action = diskOnly ? "New machine from its disk" : "New machine from here";
  const making = mode.kind === "making";

  const rest = () => setMode({ kind: "rest" });
  useFocusKept(mode.kind, button);
  const make = async () => {
    setMode({ kind: "making" });
    try {
      setMode({ kind: "made", machineId: await base.startFromSnapshot(snapshot.id, { diskOnly }) });
    } catch (error) {
      const { message, code = "INTERNAL" } = error as Error & { code?: string };
      setMode(code === "CANCELLED" ? { kind: "rest" } : { kind: "failed", message, code });
    }
  };

  return (
    <li
      className={styles.item}
      onKeyDown={(event) => {
        if (event.key !== "Escape" || mode.kind === "rest" || making) return;
        // One step back; the panel around it closes with Escape too.
        event.preventDefault();
        rest();
      }}
    >
      <div className={styles.main}>
        <SnapshotPicture thumbnail={description?.thumbnail} />
        <div className={styles.text}>
          <h4 className={styles.name}>{name}</h4>
          <p className={styles.facts}>
            <TimeAgo time={snapshot.savedAt} />
          </p>
          <p className={styles.facts}>
            {snapshot.stateBytes > 0 ? "disk and memory" : "its disk alone: a machine from it boots"}
          </p>
          {base.startedFrom === snapshot.id && <p className={styles.facts}>this machine was started here</p>}
        </div>
      </div>
      {description?.description && <p className={styles.description}>{description.description}</p>}
      <SnapshotProblems description={description} failure={failure} />
      {session.id !== undefined && (
        <div className={styles.actions}>
          <Button
            ref={button}
            isDisabled={making || isBusy(session)}
            aria-label={`${action}: ${name}`}
            onPress={make}
          >
            <Copy size={16} aria-hidden="true" />
            {action}
          </Button>
        </div>
      )}
      {making && <Notice tone="neutral">Making a machine from {name}.</Notice>}
      {mode.kind === "made" && <MachineMade machineId={mode.machineId} onStay={rest} />}
      {mode.kind === "failed" && (
        <Notice tone="danger" code={mode.code} actions={<Button onPress={rest}>Understood</Button>}>
          <p>{mode.message}</p>
        </Notice>
      )}
    </li>
  );
}

/** What could be found out about a snapshot, once it is read. */
function useDescription(base: MachineBase, id: string) {
  const [description, setDescription] = useState<BaseSnapshotDescription>();
  const [failure, setFailure] = useState<string>();
  useEffect(() => {
    let gone = false;
    base.describeSnapshot(id).then(
      (next) => !gone && setDescription(next),
      (error: Error) => !gone && setFailure(error.message),
    );
    return () => {
      gone = true;
    };
  }, [base, id]);
  return { description, failure };
}
