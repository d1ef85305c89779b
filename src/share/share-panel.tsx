import { useEffect, useId, useRef, useState } from "react";
import { toByreError } from "../../disk/index.ts";
import { Choice, Choices } from "../components/choice.tsx";
import { Notice } from "../components/notice.tsx";
import { SidePanel } from "../components/side-panel.tsx";
import type { MachinePanelProps } from "../pages/machine-panels.tsx";
import styles from "./share-form.module.css";
import { ShareImage } from "./share-image.tsx";
import { ShareOwnFile } from "./share-own-file.tsx";
import { type ShareSource, shareSource } from "./share-source.ts";

/** A link to a machine: to the image it was made of, or to a file made of it as it is now. */
export function SharePanel({ session, state, onClose }: MachinePanelProps) {
  const heading = useRef<HTMLHeadingElement>(null);
  const id = useId();
  const [source, setSource] = useState<{ readonly found: ShareSource | undefined }>();
  const [failure, setFailure] = useState<string>();
  const [asItIs, setAsItIs] = useState(false);
  useEffect(() => heading.current?.focus(), []);
  useEffect(() => {
    let here = true;
    shareSource(session).then(
      (found) => here && setSource({ found }),
      (error: unknown) => here && setFailure(toByreError(error).message),
    );
    return () => {
      here = false;
    };
  }, [session]);

  return (
    <SidePanel id="share" title="Share" closeLabel="Close Share" headingRef={heading} onClose={onClose}>
      {failure && <Notice tone="danger">{failure}</Notice>}
      {source?.found && (
        <Choices>
          <legend className={styles.legend}>What others get</legend>
          <Choice
            type="radio"
            name={id}
            words="The machine as it came"
            hint="The image it was made of. What was done here stays here."
            isChecked={!asItIs}
            onChange={() => setAsItIs(false)}
          />
          <Choice
            type="radio"
            name={id}
            words="The machine as it is now"
            hint="You put a file of it on a web server."
            isChecked={asItIs}
            onChange={() => setAsItIs(true)}
          />
        </Choices>
      )}
      {source && !source.found && (
        <p>
          {session.name} is in this browser alone. To share it, make a file of it and put that on a web
          server; then there is a link to it.
        </p>
      )}
      {source?.found && !asItIs && <ShareImage image={source.found} name={session.name} />}
      {source && (asItIs || !source.found) && <ShareOwnFile session={session} state={state} />}
    </SidePanel>
  );
}
