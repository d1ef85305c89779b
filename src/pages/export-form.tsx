import { Download } from "lucide-react";
import { type FormEvent, useEffect, useId, useRef, useState } from "react";
import { Button } from "../components/button.tsx";
import { Buttons } from "../components/buttons.tsx";
import { Choice, Choices } from "../components/choice.tsx";
import { Notice } from "../components/notice.tsx";
import { ProgressBar } from "../components/progress-bar.tsx";
import type { MachineRecord } from "../library/machine-record.ts";
import type { MachineSession } from "../open/machine-session.ts";
import styles from "./export-form.module.css";
import { exportMachine } from "./machine-actions.ts";
import { useBaseWithSnapshots } from "./use-base-with-snapshots.ts";

export interface ExportFormProps {
  /** What to export: the open machine, or one that this browser keeps. */
  machine: MachineRecord | MachineSession;
  /** The file that the machine was made on, where there is a name for it. */
  baseName?: string | undefined;
  /** Whether the machine is on. */
  isOn: boolean;
  /** Something else is being done with the machine's disk. */
  isDisabled?: boolean;
  /** False where there is no snapshot to take along for certain. */
  hasSnapshots?: boolean;
  /** Whether somebody else on the page shows how far it is. */
  shownElsewhere?: boolean;
  onCancel?: () => void;
}

type Phase =
  | { kind: "rest" }
  | { kind: "working"; fraction: number; abort: AbortController }
  | { kind: "done"; fileName: string }
  | { kind: "failed"; message: string; code: string | undefined };

/** Whether an export would have to wait for something that may take long. */
export function isBusy({ activity }: MachineSession): boolean {
  return activity !== undefined && activity.kind !== "autosaving";
}

/** Makes a file of a machine's disk, as a person wants it. */
export function ExportForm(props: ExportFormProps) {
  const {
    machine,
    baseName,
    isOn,
    isDisabled = false,
    hasSnapshots = true,
    shownElsewhere,
    onCancel,
  } = props;
  const id = useId();
  // What is left out with an overlay alone is in the file that it needs beside it.
  const withSnapshots = useBaseWithSnapshots(machine);
  const [whole, setWhole] = useState(true);
  const [packed, setPacked] = useState(true);
  const [snapshots, setSnapshots] = useState(true);
  const [phase, setPhase] = useState<Phase>({ kind: "rest" });
  const button = useRef<HTMLButtonElement>(null);
  const working = phase.kind === "working";
  const under = useRef<AbortController>(undefined);
  // Nobody would see how far it is any more, or could call it off.
  useEffect(() => () => (shownElsewhere ? undefined : under.current?.abort()), [shownElsewhere]);
  useEffect(() => {
    // The button that called it off is gone.
    if (phase.kind !== "working" && document.activeElement === document.body) button.current?.focus();
  }, [phase.kind]);

  const run = async () => {
    const abort = new AbortController();
    under.current = abort;
    const show = (fraction: number) => setPhase({ kind: "working", fraction, abort });
    show(0);
    try {
      const choice = { flatten: whole, ...(whole && packed && { compress: true }), snapshots };
      let shown = 0;
      const onProgress = (fraction: number) => {
        if (Math.floor(fraction * 100) === Math.floor(shown * 100)) return;
        shown = fraction;
        show(fraction);
      };
      const fileName = await exportMachine(machine, choice, { onProgress, signal: abort.signal });
      setPhase(fileName === undefined ? { kind: "rest" } : { kind: "done", fileName });
    } catch (error) {
      const { message, code } = error as Error & { code?: string };
      setPhase(code === "CANCELLED" ? { kind: "rest" } : { kind: "failed", message, code });
    }
  };
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (!working && !isDisabled) void run();
  };
  const words = `Exporting ${machine.name}`;

  return (
    <form className={styles.form} onSubmit={submit}>
      <Choices isDisabled={working}>
        <legend className="visually-hidden">What to export</legend>
        <Choice
          type="radio"
          name={`${id}-what`}
          words="The whole disk"
          hint="One file that needs no other. Drop it on this page anywhere, or start it in QEMU."
          isChecked={whole}
          onChange={() => setWhole(true)}
        />
        <Choice
          type="radio"
          name={`${id}-what`}
          words="Only what was changed"
          hint={
            <>
              A smaller file, called an overlay. It works only together with{" "}
              {baseName ?? "the file the machine was made from"}.
            </>
          }
          isChecked={!whole}
          onChange={() => setWhole(false)}
        />
        {whole && (
          <Choice
            type="checkbox"
            words="Make it small"
            hint="Packs the file. That takes longer."
            isChecked={packed}
            onChange={() => setPacked(!packed)}
          />
        )}
        {hasSnapshots && (
          <Choice
            type="checkbox"
            words="With its snapshots"
            hint="The moments of the machine that were saved, and can be restored."
            isChecked={snapshots}
            onChange={() => setSnapshots(!snapshots)}
          />
        )}
      </Choices>
      {whole && withSnapshots !== undefined && (
        <p className={styles.note}>The snapshots that {withSnapshots} came with will not be in the file.</p>
      )}
      {isOn && <p className={styles.note}>The machine stands still until the file is written.</p>}
      {working && !shownElsewhere && (
        <div className={styles.progress}>
          <span role="status">{words}</span>
          <span>{Math.floor(phase.fraction * 100)} %</span>
          <ProgressBar label={words} fraction={phase.fraction} />
        </div>
      )}
      <Buttons>
        {working ? (
          !shownElsewhere && <Button onPress={() => phase.abort.abort()}>Cancel</Button>
        ) : (
          <Button type="submit" isDisabled={isDisabled} ref={button}>
            <Download size={16} aria-hidden="true" />
            Export
          </Button>
        )}
        {onCancel && !working && (
          <Button onPress={onCancel}>{phase.kind === "done" ? "Close" : "Not now"}</Button>
        )}
      </Buttons>
      {phase.kind === "done" && <Notice tone="neutral">{phase.fileName} is written.</Notice>}
      {phase.kind === "failed" && (
        <Notice tone="danger" {...(phase.code && { code: phase.code })}>
          {phase.message}
        </Notice>
      )}
    </form>
  );
}
