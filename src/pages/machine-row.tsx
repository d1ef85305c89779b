import { ArrowRight, Download, Ellipsis, Pencil, Play, RotateCcw, Trash2 } from "lucide-react";
import { useMemo, useRef, useState } from "react";
import { ApplianceIcon } from "../appliance/appliance-icon.tsx";
import { readIcon } from "../appliance/icon-data.ts";
import { Button } from "../components/button.tsx";
import { formatBytes } from "../components/format.ts";
import { late } from "../components/late.tsx";
import { Notice } from "../components/notice.tsx";
import { goTo } from "../components/page-location.ts";
import { TimeAgo } from "../components/time-ago.tsx";
import type { MachineListing } from "../library/use-machines.ts";
import { opener } from "../open/opener.ts";
import { useSessionState } from "../open/use-opener.ts";
import { deleteMachine, renameMachine, resetMachine } from "./machine-actions.ts";
import styles from "./machine-row.module.css";
import { NameField } from "./name-field.tsx";
import { useFocusKept } from "./use-focus-kept.ts";

const ExportForm = late(async () => (await import("./export-form.tsx")).ExportForm);

type Mode =
  | { kind: "rest" }
  | { kind: "more" }
  | { kind: "rename" }
  | { kind: "export" }
  | { kind: "confirm"; what: "delete" | "reset" }
  | { kind: "working"; what: string }
  | { kind: "failed"; message: string; code: string };

const STATE_WORDS = {
  starting: "starting",
  running: "running in this tab",
  paused: "paused in this tab",
  stopped: "switched off",
  error: "stopped by an error",
} as const;

export interface MachineRowProps extends MachineListing {
  /** The machine was deleted. */
  onGone: () => void;
}

export function MachineRow({ record, storedBytes, needsFile, onGone }: MachineRowProps) {
  const { id, name, base, lastUsedAt, suspended } = record;
  const icon = useMemo(() => (record.icon === undefined ? undefined : readIcon(record.icon)), [record.icon]);
  const [mode, setMode] = useState<Mode>({ kind: "rest" });
  const session = opener.session();
  const state = useSessionState(session?.id === id ? session : undefined);
  const word = state ? "Go to" : suspended ? "Resume" : "Start";
  const open = () => goTo(`/machine/${id}`);
  const more = useRef<HTMLButtonElement>(null);
  useFocusKept(mode.kind, more);

  const run = (what: string, action: () => Promise<unknown>) => {
    setMode({ kind: "working", what });
    action().then(
      () => setMode({ kind: "rest" }),
      (error: Error & { code?: string }) =>
        setMode({ kind: "failed", message: error.message, code: error.code ?? "INTERNAL" }),
    );
  };

  return (
    <li className={styles.row}>
      <div className={styles.main}>
        <ApplianceIcon icon={icon} name={name} size="tiny" />
        <div className={styles.text}>
          {mode.kind === "rename" ? (
            <NameField
              name={name}
              onDone={(next) => run("Renaming", () => renameMachine(id, next))}
              onCancel={() => setMode({ kind: "rest" })}
            />
          ) : (
            <h3 className={styles.name}>{name}</h3>
          )}
          <p className={styles.facts}>
            {state && (
              <span className={styles.state}>{session?.suspended ? "suspended" : STATE_WORDS[state]}</span>
            )}
            <span>{formatBytes(storedBytes)} here</span>
            {!state && suspended ? (
              <span className={styles.state}>
                suspended <TimeAgo time={suspended.atMs} />
              </span>
            ) : (
              <span>
                used <TimeAgo time={lastUsedAt} />
              </span>
            )}
            <span className={styles.base}>on {base.name}</span>
            {!state && needsFile && <span>needs your file, which is not wholly copied</span>}
          </p>
        </div>
        <div className={styles.actions}>
          <Button onPress={open} isDisabled={mode.kind === "working"} aria-label={`${word} ${name}`}>
            {state ? <ArrowRight size={16} aria-hidden="true" /> : <Play size={16} aria-hidden="true" />}
            {word}
          </Button>
          <Button
            look="quiet"
            iconOnly
            ref={more}
            isDisabled={mode.kind === "working"}
            aria-label={`${name}: more`}
            aria-expanded={mode.kind === "more"}
            onPress={() => setMode({ kind: mode.kind === "rest" ? "more" : "rest" })}
          >
            <Ellipsis size={18} aria-hidden="true" />
          </Button>
        </div>
      </div>
      {mode.kind === "more" && (
        <div className={styles.more}>
          <Button look="quiet" onPress={() => setMode({ kind: "rename" })}>
            <Pencil size={16} aria-hidden="true" />
            Rename
          </Button>
          <Button look="quiet" onPress={() => setMode({ kind: "export" })}>
            <Download size={16} aria-hidden="true" />
            Export
          </Button>
          <Button look="quiet" onPress={() => setMode({ kind: "confirm", what: "reset" })}>
            <RotateCcw size={16} aria-hidden="true" />
            Reset to base
          </Button>
          <Button look="quiet" onPress={() => setMode({ kind: "confirm", what: "delete" })}>
            <Trash2 size={16} aria-hidden="true" />
            Delete
          </Button>
        </div>
      )}
      {mode.kind === "export" && (
        <ExportForm
          machine={record}
          baseName={base.name}
          isOn={state === "running"}
          isDisabled={state === "starting"}
          onCancel={() => setMode({ kind: "rest" })}
        />
      )}
      {mode.kind === "confirm" && (
        <Notice
          tone="caution"
          title={mode.what === "delete" ? `Delete ${name}?` : `Reset ${name} to ${base.name}?`}
          actions={
            <>
              <Button
                look="danger"
                autoFocus
                onPress={() =>
                  mode.what === "delete"
                    ? run("Deleting", () => deleteMachine(id).then(onGone))
                    : run("Resetting", () => resetMachine(id))
                }
              >
                {mode.what === "delete" ? "Delete" : "Reset"}
              </Button>
              <Button onPress={() => setMode({ kind: "rest" })}>Keep</Button>
            </>
          }
        >
          <p>
            {mode.what === "delete"
              ? "The machine, everything written on it and its snapshots are gone then."
              : "Everything written on it is gone then, and its snapshots; it starts again as at first."}
          </p>
        </Notice>
      )}
      {mode.kind === "working" && (
        <Notice tone="neutral">
          {mode.what} {name}.
        </Notice>
      )}
      {mode.kind === "failed" && (
        <Notice
          tone="danger"
          code={mode.code}
          actions={<Button onPress={() => setMode({ kind: "rest" })}>Understood</Button>}
        >
          {mode.message}
        </Notice>
      )}
    </li>
  );
}
