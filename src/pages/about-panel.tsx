import { useEffect, useRef, useState } from "react";
import { AboutForm } from "../appliance/about-form.tsx";
import { type ApplianceDescription, describeAppliance } from "../appliance/appliance-description.ts";
import { ApplianceTitle } from "../appliance/appliance-facts-view.tsx";
import type { ImageMetadata } from "../appliance/image-metadata.ts";
import { LicenceText } from "../appliance/licence-text.tsx";
import { MarkdownText } from "../appliance/markdown-text.tsx";
import { MetadataList } from "../appliance/metadata-list.tsx";
import { Button } from "../components/button.tsx";
import { Buttons } from "../components/buttons.tsx";
import { Notice } from "../components/notice.tsx";
import { SidePanel } from "../components/side-panel.tsx";
import { AUTOSAVE_NAME } from "../open/autosave.ts";
import type { MachineSession } from "../open/machine-session.ts";
import styles from "./about-panel.module.css";
import { useSession } from "./use-session.ts";

/** What a machine's image says of itself, and a form that changes it. */
export function AboutPanel({ session, onClose }: { session: MachineSession; onClose: () => void }) {
  useSession(session);
  const [editing, setEditing] = useState(false);
  const heading = useRef<HTMLHeadingElement>(null);
  // What had the focus is gone with every change of what is shown.
  // biome-ignore lint/correctness/useExhaustiveDependencies: the change is what counts
  useEffect(() => heading.current?.focus(), [editing]);
  const said = read(session);
  return (
    <SidePanel
      id="about"
      title={editing ? "Edit what this machine says" : "About this machine"}
      closeLabel="Close About"
      headingRef={heading}
      onClose={onClose}
    >
      {said instanceof Error ? (
        <Notice tone="caution" title="What the image says of itself cannot be read">
          <p>{said.message}</p>
        </Notice>
      ) : editing ? (
        <AboutForm
          metadata={said.metadata}
          roomBytes={said.roomBytes}
          snapshotNames={snapshotNamesOf(session)}
          onSave={async (metadata) => {
            await session.setAbout(metadata);
            setEditing(false);
          }}
          onCancel={() => setEditing(false)}
        />
      ) : (
        <About session={session} said={said} onEdit={() => setEditing(true)} />
      )}
    </SidePanel>
  );
}

function About({
  session,
  said: { metadata },
  onEdit,
}: {
  session: MachineSession;
  said: ImageMetadata;
  onEdit: () => void;
}) {
  const description = describeAppliance(metadata);
  const { name, icon, summary, message, licence } = description;
  const made = madeBy(description);
  return (
    <>
      <h3 className={styles.name}>
        <ApplianceTitle icon={icon} name={name ?? session.name} />
      </h3>
      {metadata.size === 0 && <p>Its image says nothing of itself yet.</p>}
      {summary && <p dir="auto">{summary}</p>}
      {made && (
        <p className={styles.made} dir="auto">
          {made}
        </p>
      )}
      {message && <MarkdownText text={message} headingLevel={4} />}
      {licence && (
        <>
          <h4 className={styles.part} dir="auto">
            Licence: {licence.title}
          </h4>
          {licence.text && <LicenceText title={licence.title} text={licence.text} />}
        </>
      )}
      {metadata.size > 0 && (
        <details>
          <summary className={styles.summary}>Everything its image says of itself</summary>
          <MetadataList metadata={metadata} />
        </details>
      )}
      <Buttons>
        <Button onPress={onEdit}>Edit</Button>
      </Buttons>
    </>
  );
}

function madeBy({ vendor, version }: ApplianceDescription): string | undefined {
  const parts = [version && `Version ${version}`, vendor && `by ${vendor}`].filter(Boolean);
  return parts.length > 0 ? parts.join(", ") : undefined;
}

/** Those that stay: an autosave is another one in a few minutes. */
function snapshotNamesOf(session: MachineSession): string[] {
  const names = new Set(session.snapshots().map(({ name }) => name));
  return [...names].filter((name) => name !== "" && name !== AUTOSAVE_NAME);
}

function read(session: MachineSession): ImageMetadata | Error {
  try {
    return session.about();
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error));
  }
}
