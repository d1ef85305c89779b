import { Copy, Ellipsis, Pencil, Power, Trash2, Undo2 } from "lucide-react";
import { useEffect, useRef, useState } from "react";
import { Button } from "../components/button.tsx";
import { formatBytes } from "../components/format.ts";
import { Notice } from "../components/notice.tsx";
import { ProgressBar } from "../components/progress-bar.tsx";
import { TimeAgo } from "../components/time-ago.tsx";
import type { MachineSession } from "../open/machine-session.ts";
import { MachineMade } from "./machine-made.tsx";
import { RestoreQuestion } from "./restore-question.tsx";
import { SnapshotEditForm } from "./snapshot-edit-form.tsx";
import styles from "./snapshot-item.module.css";
import { meaningOf, shownName } from "./snapshot-names.ts";
import { SnapshotPicture } from "./snapshot-picture.tsx";
import { SnapshotProblems } from "./snapshot-problems.tsx";
import type { SnapshotListing } from "./use-snapshots.ts";

type Mode =
  | { kind: "rest" | "more" | "edit" | "delete" | "restore" }
  | { kind: "working"; words: string }
  | { kind: "making"; fraction: number; cancel: () => void }
  | { kind: "made"; machineId: string }
  | { kind: "failed"; message: string; code: string };

export interface SnapshotItemProps extends SnapshotListing {
  session: MachineSession;
  state: MachineSession["state"];
  onRestored: () => void;
  /** The focus was in an item that is gone. */
  onGone: () => void;
}

/** One snapshot of the list, and what can be done with it. */
export function SnapshotItem(props: SnapshotItemProps) {
  const { session, state, snapshot, description, failure, onRestored, onGone } = props;
  const [mode, setMode] = useState<Mode>({ kind: "rest" });
  const more = useRef<HTMLButtonElement>(null);
  const name = shownName(snapshot);
  const working = mode.kind === "working" || mode.kind === "making";
  const busy = working || session.activity !== undefined;
  const meaning = meaningOf(snapshot.name);
  const diskOnly = description?.problem !== undefined;

  const rest = () => setMode({ kind: "rest" });
  const shown = useRef(mode.kind);
  useEffect(() => {
    // The button that had the focus went with what was asked before.
    if (shown.current !== mode.kind && document.activeElement === document.body) more.current?.focus();
    shown.current = mode.kind;
  }, [mode.kind]);
  const run = (words: string, action: () => Promise<Mode>) => {
    setMode({ kind: "working", words });
    return finish(action);
  };
  const finish = async (action: () => Promise<Mode>) => {
    try {
      setMode(await action());
    } catch (error) {
      const { message, code = "INTERNAL" } = error as Error & { code?: string };
      setMode(code === "CANCELLED" ? { kind: "rest" } : { kind: "failed", message, code });
    }
  };
  const remove = () =>
    run(`Deleting ${name}.`, async () => {
      await session.deleteSnapshot(snapshot.id);
      onGone();
      return { kind: "rest" };
    });
  const makeMachine = () => {
    const abort = new AbortController();
    const making = (fraction: number): Mode => ({ kind: "making", fraction, cancel: () => abort.abort() });
    setMode(making(0));
    const { signal } = abort;
    const onProgress = (fraction: number) => setMode(making(fraction));
    return finish(async () => ({
      kind: "made",
      machineId: await session.startFromSnapshot(snapshot.id, { signal, onProgress }),
    }));
  };

  return (
    <li
      className={styles.item}
      onKeyDown={(event) => {
        if (event.key !== "Escape" || mode.kind === "rest" || working) return;
        // One step back; the panel around it closes with Escape too.
        event.preventDefault();
        rest();
      }}
    >
      <div className={styles.main}>
        <SnapshotPicture thumbnail={description?.thumbnail} />
        <div className={styles.text}>
          <h3 className={styles.name}>{name}</h3>
          <p className={styles.facts}>
            <TimeAgo time={snapshot.savedAt} />
            {meaning && <span>{meaning}</span>}
          </p>
          {description && (
            <p className={styles.facts}>
              <span>{formatBytes(description.ownBytes)} its own</span>
              <span>{formatBytes(description.sharedBytes)} shared</span>
            </p>
          )}
          {description?.hasState === false && (
            <p className={styles.facts}>its disk alone: restoring boots it</p>
          )}
        </div>
      </div>
      {description?.description && mode.kind !== "edit" && (
        <p className={styles.description}>{description.description}</p>
      )}
      <SnapshotProblems description={description} failure={failure} />

      {mode.kind === "edit" ? (
        <SnapshotEditForm
          name={snapshot.name}
          // A snapshot without a machine's state has no place for one.
          description={description?.hasState && !description.problem ? description.description : undefined}
          onDone={(change) =>
            run(`Changing ${name}.`, async () => {
              await session.editSnapshot(snapshot.id, change);
              return { kind: "rest" };
            })
          }
          onCancel={rest}
        />
      ) : (
        <div className={styles.actions}>
          <Button
            isDisabled={busy}
            aria-label={diskOnly ? `Boot its disk instead: ${name}` : `Restore ${name}`}
            onPress={() => setMode({ kind: "restore" })}
          >
            {diskOnly ? <Power size={16} aria-hidden="true" /> : <Undo2 size={16} aria-hidden="true" />}
            {diskOnly ? "Boot its disk instead" : "Restore"}
          </Button>
          <Button
            look="quiet"
            iconOnly
            ref={more}
            isDisabled={working}
            aria-label={`${name}: more`}
            aria-expanded={mode.kind === "more"}
            onPress={() => setMode({ kind: mode.kind === "rest" ? "more" : "rest" })}
          >
            <Ellipsis size={18} aria-hidden="true" />
          </Button>
        </div>
      )}

      {mode.kind === "more" && (
        <div className={styles.more}>
          <Button look="quiet" isDisabled={busy} onPress={() => setMode({ kind: "edit" })}>
            <Pencil size={16} aria-hidden="true" />
            Rename or describe
          </Button>
          {session.id && (
            <Button look="quiet" isDisabled={busy} onPress={makeMachine}>
              <Copy size={16} aria-hidden="true" />
              New machine from here
            </Button>
          )}
          <Button look="quiet" isDisabled={busy} onPress={() => setMode({ kind: "delete" })}>
            <Trash2 size={16} aria-hidden="true" />
            Delete
          </Button>
        </div>
      )}
      {mode.kind === "restore" && (
        <RestoreQuestion
          session={session}
          state={state}
          snapshot={snapshot}
          diskOnly={diskOnly}
          offerSave
          onRestored={onRestored}
          onEnd={rest}
        />
      )}
      {mode.kind === "delete" && (
        <Notice
          tone="caution"
          title={`Delete ${name}?`}
          actions={
            <>
              <Button look="danger" autoFocus onPress={remove}>
                Delete
              </Button>
              <Button onPress={rest}>Keep</Button>
            </>
          }
        >
          <p>
            {description ? `Frees ${formatBytes(description.ownBytes)}. ` : ""}
            The machine as it is now stays as it is.
          </p>
        </Notice>
      )}
      {mode.kind === "working" && <Notice tone="neutral">{mode.words}</Notice>}
      {mode.kind === "making" && (
        <Notice tone="neutral" actions={<Button onPress={mode.cancel}>Cancel</Button>}>
          <p>Making a machine from {name}.</p>
          <ProgressBar label={`Making a machine from ${name}`} fraction={mode.fraction} />
        </Notice>
      )}
      {mode.kind === "made" && <MachineMade machineId={mode.machineId} onStay={rest} />}
      {mode.kind === "failed" && (
        <Notice tone="danger" code={mode.code} actions={<Button onPress={rest}>Understood</Button>}>
          <p>{mode.message}</p>
        </Notice>
      )}
    </li>
  );
}
