import { type ReactNode, type Ref, useEffect, useReducer, useRef, useState } from "react";
import type { MachineOutput } from "../../emulator/index.ts";
import { Button } from "../components/button.tsx";
import { Buttons } from "../components/buttons.tsx";
import { formatBytes } from "../components/format.ts";
import { Notice } from "../components/notice.tsx";
import { SidePanel } from "../components/side-panel.tsx";
import { TextField } from "../components/text-field.tsx";
import { download, safeFileName } from "../open/save-file.ts";
import type { MachinePanelProps } from "../pages/machine-panels.tsx";
import { OpenFilesButton } from "../pages/open-files-button.tsx";
import styles from "./files-panel.module.css";
import { insertIntoRunning } from "./insert-files.ts";
import { useChanges } from "./use-changes.ts";

const MAX_NAME_LENGTH = 200;
/** What arrives comes in many pieces; after this long without one, it is read out. */
const QUIET_MS = 1000;

/** Files in, on a CD that is made of them, and out, through the machine's second serial port. */
export function FilesPanel({ session, onClose, run }: MachinePanelProps) {
  const { cdrom } = useChanges(session.media);
  const output = useOutput(session.output);
  const quietBytes = useQuiet(output.sizeBytes);
  const [name, setName] = useState("");
  const [given, setGiven] = useState<string>();
  const heading = useRef<HTMLHeadingElement>(null);
  const outHeading = useRef<HTMLHeadingElement>(null);
  useEffect(() => heading.current?.focus(), []);
  const give = async (files: readonly File[]) => {
    if (files.length === 0) return;
    const inserted = await insertIntoRunning(session, files, "files");
    setGiven(inserted.name);
  };
  const save = () => {
    download(new Blob([output.bytes()]), safeFileName(name.trim() || `${session.name} file`));
  };
  const discard = () => {
    output.clear();
    // The button goes with what it discards.
    outHeading.current?.focus();
  };
  return (
    <SidePanel id="files" title="Files" closeLabel="Close the files" onClose={onClose} headingRef={heading}>
      <Part title="Into the machine">
        <p>
          Choose files, or drop them anywhere on this page. The machine finds them on a CD, in the place of
          the one that is in its drive.
        </p>
        <Buttons>
          <OpenFilesButton look="primary" onFiles={(files) => run(() => give(files))}>
            Choose files
          </OpenFilesButton>
        </Buttons>
        <p role="status">
          {given !== undefined &&
            cdrom?.name === given &&
            `${given}: on the CD, ${formatBytes(cdrom.sizeBytes)}.`}
        </p>
        <p>In Linux, as root:</p>
        <pre className={styles.command}>mount /dev/sr0 /mnt</pre>
      </Part>
      <Part title="Out of the machine" headingRef={outHeading}>
        <p>What the machine writes to its second serial port arrives here. In Linux, as root:</p>
        <pre className={styles.command}>cat notes.txt &gt;/dev/ttyS1</pre>
        <p>In DOS and Windows:</p>
        <pre className={styles.command}>copy /b notes.txt com2</pre>
        <p>
          {output.sizeBytes === 0 ? "Nothing has arrived yet." : `Arrived: ${formatBytes(output.sizeBytes)}.`}
          {output.droppedBytes > 0 && ` After that ${formatBytes(output.droppedBytes)} came that are lost.`}
        </p>
        <p role="status" className="visually-hidden">
          {quietBytes > 0 && `${formatBytes(quietBytes)} came out of the machine.`}
        </p>
        {output.droppedBytes > 0 && (
          <Notice tone="caution" title="What came after that is lost">
            <p>No more than 64 MiB are kept. Split the file, and save its parts one at a time.</p>
          </Notice>
        )}
        {output.sizeBytes > 0 && (
          <>
            <TextField label="Name of the file" value={name} onChange={setName} maxLength={MAX_NAME_LENGTH} />
            <Buttons>
              <Button look="primary" onPress={save}>
                Save
              </Button>
              <Button onPress={discard}>Discard</Button>
            </Buttons>
            <p className={styles.hint}>
              One file after the other makes one long file: discard the first before the machine writes the
              next.
            </p>
          </>
        )}
      </Part>
    </SidePanel>
  );
}

interface PartProps {
  title: string;
  headingRef?: Ref<HTMLHeadingElement>;
  children: ReactNode;
}

function Part({ title, headingRef, children }: PartProps) {
  return (
    <section className={styles.part} aria-label={title}>
      <h3 className={styles.title} tabIndex={-1} ref={headingRef}>
        {title}
      </h3>
      {children}
    </section>
  );
}

/** Renders again when something has arrived. */
function useOutput(output: MachineOutput): MachineOutput {
  const [, refresh] = useReducer((count: number) => count + 1, 0);
  useEffect(() => {
    refresh();
    return output.onOutput(refresh);
  }, [output]);
  return output;
}

/** What `value` is once it stays so for a moment. */
function useQuiet(value: number): number {
  const [quiet, setQuiet] = useState(value);
  useEffect(() => {
    const timer = setTimeout(() => setQuiet(value), QUIET_MS);
    return () => clearTimeout(timer);
  }, [value]);
  return quiet;
}
