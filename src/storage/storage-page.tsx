import { Trash2 } from "lucide-react";
import { useRef, useState } from "react";
import { Button } from "../components/button.tsx";
import { formatBytes } from "../components/format.ts";
import { Notice } from "../components/notice.tsx";
import { goTo } from "../components/page-location.ts";
import { ProgressBar } from "../components/progress-bar.tsx";
import { deleteLeftovers } from "../library/block-store.ts";
import { isFocusLost } from "../pages/focus-lost.ts";
import { deleteMachine, deleteUnfinishedCopy } from "../pages/machine-actions.ts";
import { PageFrame } from "../pages/page-frame.tsx";
import { StorageLine } from "../pages/storage-line.tsx";
import { useFocusKept } from "../pages/use-focus-kept.ts";
import { usePageTitle } from "../pages/use-page-title.ts";
import styles from "./storage-page.module.css";
import type { MachineStorage, StoredFile } from "./storage-report.ts";
import { useStorage } from "./use-storage.ts";

/** Something that cannot be undone, and is asked about first. */
interface Deletion {
  readonly title: string;
  readonly words: string;
  readonly run: () => Promise<unknown>;
}

/** What takes how much of this browser's storage, and how to be rid of it. */
export function StoragePage() {
  usePageTitle("Storage - Byre");
  const { report, siteBytes, error, refresh } = useStorage();
  const heading = useRef<HTMLHeadingElement>(null);
  const keepFocus = () => {
    if (isFocusLost()) heading.current?.focus();
  };
  return (
    <PageFrame title="Storage">
      {error && (
        <Notice tone="danger" title="What is stored in this browser cannot be read">
          <p>{error}</p>
        </Notice>
      )}
      {report && (
        <>
          <div>
            <StorageLine storedBytes={report.storedBytes} />
            <p className={styles.note}>
              {siteBytes !== undefined &&
                `The browser counts ${formatBytes(siteBytes)} for this whole site; it packs some of what it stores. `}
              Of images at an address only what was changed is stored; they are fetched anew each time.
            </p>
          </div>
          <section className={styles.section} aria-labelledby="storage-machines">
            <h2 id="storage-machines" className={styles.heading} tabIndex={-1} ref={heading}>
              Machines
            </h2>
            {report.machines.length === 0 && <p className={styles.note}>No machine is kept here.</p>}
            {report.machines.length > 0 && (
              <ul className={styles.rows}>
                {report.machines.map((machine) => (
                  <MachineItem
                    key={machine.record.id}
                    machine={machine}
                    allBytes={report.storedBytes}
                    onDeleted={refresh}
                    onGone={keepFocus}
                  />
                ))}
              </ul>
            )}
          </section>
          {report.leftovers.length > 0 && (
            <Leftovers
              bytes={report.leftovers.reduce((total, { storedBytes }) => total + storedBytes, 0)}
              count={report.leftovers.length}
              onDeleted={refresh}
              onGone={() => heading.current?.focus()}
            />
          )}
        </>
      )}
      <div>
        <Button onPress={() => goTo("/")}>All machines</Button>
      </div>
    </PageFrame>
  );
}

interface MachineItemProps {
  machine: MachineStorage;
  /** Of everything, to hold its own against. */
  allBytes: number;
  onDeleted: () => void;
  /** The machine itself was deleted. */
  onGone: () => void;
}

function MachineItem({ machine, allBytes, onDeleted, onGone }: MachineItemProps) {
  const { record, files, storedBytes } = machine;
  const { id, name } = record;
  const [asking, setAsking] = useState<Deletion>();
  const deletion = useRef<HTMLButtonElement>(null);
  useFocusKept(asking, deletion);
  const machineDeletion: Deletion = {
    title: `Delete ${name}?`,
    words: "The machine, everything written on it and its snapshots are gone then.",
    run: () => deleteMachine(id).then(onGone),
  };
  const copyDeletion = (file: StoredFile): Deletion => ({
    title: `Delete what is copied of ${file.what.replace("Copy of ", "")}?`,
    words: `${name} stays as it is. It asks for the file when you open it, and reads it from there.`,
    run: () => deleteUnfinishedCopy(id, file.fileId),
  });
  return (
    <li className={styles.row}>
      <div className={styles.head}>
        <h3 className={styles.name}>{name}</h3>
        <span className={styles.size}>{formatBytes(storedBytes)}</span>
        <Button
          look="quiet"
          iconOnly
          ref={deletion}
          aria-label={`Delete ${name}`}
          onPress={() => setAsking(machineDeletion)}
        >
          <Trash2 size={16} aria-hidden="true" />
        </Button>
      </div>
      <ProgressBar label={`Share of ${name}`} fraction={allBytes === 0 ? 0 : storedBytes / allBytes} />
      <ul className={styles.files}>
        {files.map((file) => (
          <li key={file.fileId} className={styles.file}>
            <span>
              {file.what}
              {file.import &&
                `, ${formatBytes(file.import.copiedBytes)} of ${formatBytes(file.import.totalBytes)} so far`}
              {file.sharedWith.length > 0 && `, shared with ${file.sharedWith.join(", ")}`}
            </span>
            <span>{file.countsElsewhere ? "counted there" : formatBytes(file.storedBytes)}</span>
            {file.import && (
              <Button look="quiet" onPress={() => setAsking(copyDeletion(file))}>
                Delete the copy
              </Button>
            )}
          </li>
        ))}
      </ul>
      {asking && <Confirm {...asking} onDone={onDeleted} onEnd={() => setAsking(undefined)} />}
    </li>
  );
}

interface LeftoversProps {
  bytes: number;
  count: number;
  onDeleted: () => void;
  onGone: () => void;
}

function Leftovers({ bytes, count, onDeleted, onGone }: LeftoversProps) {
  const [problem, setProblem] = useState<string>();
  const remove = async () => {
    try {
      const done = await deleteLeftovers();
      if (done) onGone();
      setProblem(done ? undefined : "Another tab is making a machine now. Try again when it runs.");
    } catch (error) {
      setProblem(error instanceof Error ? error.message : String(error));
    }
    onDeleted();
  };
  return (
    <section className={styles.section} aria-labelledby="storage-leftovers">
      <h2 id="storage-leftovers" className={styles.heading}>
        Left over
      </h2>
      <p>
        {count} {count === 1 ? "file" : "files"} of {formatBytes(bytes)} that no machine needs, of a page that
        was closed in the middle of its work.
      </p>
      {problem && (
        <Notice tone="caution">
          <p>{problem}</p>
        </Notice>
      )}
      <div>
        <Button onPress={remove}>Delete what is left over</Button>
      </div>
    </section>
  );
}

interface ConfirmProps extends Deletion {
  onDone: () => void;
  onEnd: () => void;
}

function Confirm({ title, words, run, onDone, onEnd }: ConfirmProps) {
  const [failure, setFailure] = useState<string>();
  const [working, setWorking] = useState(false);
  const go = async () => {
    setWorking(true);
    setFailure(undefined);
    try {
      await run();
      onEnd();
      onDone();
    } catch (error) {
      setFailure(error instanceof Error ? error.message : String(error));
      setWorking(false);
    }
  };
  return (
    <Notice
      tone="caution"
      title={title}
      actions={
        <>
          <Button look="danger" autoFocus isDisabled={working} onPress={go}>
            Delete
          </Button>
          <Button isDisabled={working} onPress={onEnd}>
            Keep
          </Button>
        </>
      }
    >
      <p>{words}</p>
      {failure && <p role="alert">{failure}</p>}
    </Notice>
  );
}
