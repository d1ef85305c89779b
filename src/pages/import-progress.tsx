import { useEffect, useState, useSyncExternalStore } from "react";
import { Button } from "../components/button.tsx";
import { formatBytes } from "../components/format.ts";
import { Notice } from "../components/notice.tsx";
import { ProgressBar } from "../components/progress-bar.tsx";
import type { MachineImport } from "../open/machine-import.ts";
import styles from "./import-progress.module.css";

export interface ImportProgressProps {
  machineName: string;
  copying: MachineImport;
}

const SHOWN_AFTER_MS = 700;

/** How far the copying of a machine's files into this browser is, which goes on beside the machine. */
export function ImportProgress({ machineName, copying }: ImportProgressProps) {
  const { state, copiedBytes, totalBytes, error } = useSyncExternalStore(
    copying.onChange,
    () => copying.progress,
  );
  const [asking, setAsking] = useState(false);
  const [hidden, setHidden] = useState(false);
  const [failure, setFailure] = useState<string>();
  const files = copying.fileNames.join(", ");
  const needed = `Whenever you open ${machineName} it asks you for ${files}.`;

  // A small file is copied before anybody has read this.
  const [slow, setSlow] = useState(false);
  useEffect(() => {
    const timer = setTimeout(() => setSlow(true), SHOWN_AFTER_MS);
    return () => clearTimeout(timer);
  }, []);

  if (hidden || state === "copied" || (state === "copying" && !slow)) return null;
  if (state === "cancelled") {
    return (
      <Notice tone="neutral" actions={<Button onPress={() => setHidden(true)}>OK</Button>}>
        <p>
          {files} is not copied into this browser. {needed} What the machine writes is kept all the same.
        </p>
      </Notice>
    );
  }
  if (asking) {
    const giveUp = () => {
      copying.cancel().then(
        () => setAsking(false),
        (cause: Error) => setFailure(cause.message),
      );
    };
    return (
      <Notice
        tone="caution"
        title={`Stop copying ${files}?`}
        actions={
          <>
            <Button look="danger" autoFocus onPress={giveUp}>
              Stop copying
            </Button>
            <Button onPress={() => setAsking(false)}>Keep copying</Button>
          </>
        }
      >
        <p>
          What is copied is deleted from this browser, and {machineName} goes on reading your file. {needed}
        </p>
        {failure && <p role="alert">{failure}</p>}
      </Notice>
    );
  }
  if (state === "failed" && error) {
    return (
      <Notice
        tone="caution"
        title={`${files} could not be copied into this browser`}
        code={error.code}
        actions={
          <>
            <Button onPress={() => copying.resume()}>Try again</Button>
            <Button onPress={() => setAsking(true)}>Stop copying</Button>
          </>
        }
      >
        <p>
          {error.code === "QUOTA_EXCEEDED"
            ? "There is no room for it. Delete machines you no longer need, or free disk space, and try again. "
            : `${error.message} `}
          {machineName} runs on, from the file itself.
        </p>
      </Notice>
    );
  }
  const words = state === "copying" ? `Copying ${files} into this browser` : `Copying ${files} is paused`;
  return (
    <section className={styles.import} aria-label="Import">
      <p className={styles.words}>
        {words} <span className={styles.hint}>{machineName} runs meanwhile, from the file.</span>
      </p>
      <span className={styles.amount}>
        {formatBytes(copiedBytes)} of {formatBytes(totalBytes)}
      </span>
      <ProgressBar label={words} fraction={totalBytes === 0 ? 1 : copiedBytes / totalBytes} />
      <div className={styles.buttons}>
        {state === "copying" ? (
          <Button look="quiet" onPress={() => copying.pause()} aria-label="Pause copying">
            Pause
          </Button>
        ) : (
          <Button look="quiet" onPress={() => copying.resume()} aria-label="Go on copying">
            Go on
          </Button>
        )}
        <Button look="quiet" onPress={() => setAsking(true)} aria-label="Cancel copying">
          Cancel
        </Button>
      </div>
    </section>
  );
}
