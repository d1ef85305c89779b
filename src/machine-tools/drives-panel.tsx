import { Disc, type LucideIcon, Save } from "lucide-react";
import { type ReactNode, useEffect, useRef } from "react";
import type { Medium } from "../../emulator/index.ts";
import { Button } from "../components/button.tsx";
import { Buttons } from "../components/buttons.tsx";
import { formatBytes } from "../components/format.ts";
import { SidePanel } from "../components/side-panel.tsx";
import { download, safeFileName } from "../open/save-file.ts";
import type { MachinePanelProps } from "../pages/machine-panels.tsx";
import { OpenFilesButton } from "../pages/open-files-button.tsx";
import styles from "./drives-panel.module.css";
import { floppyBytes, hasOwnFloppy, insertIntoRunning } from "./insert-files.ts";
import { useChanges } from "./use-changes.ts";

/** The drives whose disks can be changed while the machine runs. */
export function DrivesPanel({ session, onClose, run }: MachinePanelProps) {
  const media = useChanges(session.media);
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => heading.current?.focus(), []);
  const insert = (choice: "cdrom" | "floppy") => (files: readonly File[]) => {
    if (files.length > 0) run(() => insertIntoRunning(session, files.slice(0, 1), choice));
  };
  const saveFloppy = async () => {
    const { floppy } = media;
    const bytes = await floppyBytes(session);
    if (bytes && floppy) download(new Blob([bytes]), safeFileName(floppy.name));
  };
  return (
    <SidePanel
      id="drives"
      title="Drives"
      closeLabel="Close the drives"
      onClose={onClose}
      headingRef={heading}
    >
      <Drive name="CD" icon={Disc} medium={media.cdrom} empty="No CD is in the drive.">
        <OpenFilesButton onFiles={insert("cdrom")}>
          {media.cdrom ? "Insert another CD" : "Insert a CD"}
        </OpenFilesButton>
        {media.cdrom && <Button onPress={() => run(() => media.ejectCdrom())}>Eject the CD</Button>}
      </Drive>
      <Drive name="Floppy disk" icon={Save} medium={media.floppy} empty="No floppy disk is in the drive.">
        <OpenFilesButton onFiles={insert("floppy")}>
          {media.floppy ? "Insert another floppy" : "Insert a floppy"}
        </OpenFilesButton>
        {media.floppy && <Button onPress={() => run(() => media.ejectFloppy())}>Eject the floppy</Button>}
        {media.floppy && hasOwnFloppy(session) && (
          <Button onPress={() => run(saveFloppy)}>Save the floppy</Button>
        )}
      </Drive>
      <p className={styles.hint}>
        A CD is an .iso file; a floppy disk is a file of at most 2.88 MB. What is put in here stays until it
        is ejected or the machine is closed. Save a floppy disk before that to keep what the machine wrote to
        it.
      </p>
    </SidePanel>
  );
}

interface DriveProps {
  name: string;
  icon: LucideIcon;
  medium: Medium | undefined;
  empty: string;
  children: ReactNode;
}

function Drive({ name, icon: Icon, medium, empty, children }: DriveProps) {
  return (
    <section className={styles.drive} aria-label={name}>
      <h3 className={styles.name}>
        <Icon size={17} aria-hidden="true" />
        {name}
      </h3>
      <p role="status" className={styles.medium}>
        {medium ? (
          <>
            <strong>{medium.name}</strong>, {formatBytes(medium.sizeBytes)}
            {medium.writable ? "" : ", read-only"}
          </>
        ) : (
          empty
        )}
      </p>
      <Buttons>{children}</Buttons>
    </section>
  );
}
