import { useState } from "react";
import { toByreError } from "../../disk/index.ts";
import { Choice } from "../components/choice.tsx";
import { Notice } from "../components/notice.tsx";
import { SelectField } from "../components/select-field.tsx";
import { TextField } from "../components/text-field.tsx";
import type { ImageLink } from "../open/machine-link.ts";
import type { ImageState } from "./image-states.ts";
import { LinkOutputs } from "./link-outputs.tsx";
import styles from "./share-form.module.css";
import { AS_THE_IMAGE_SAYS, isOnlyHere, type ShareChoice, shareLink } from "./share-link.ts";

export interface ShareFormProps {
  image: Pick<ImageLink, "url" | "drives">;
  /** Of the machine. */
  name: string;
  /** The image's saved states; undefined while nobody knows. */
  states: readonly ImageState[] | undefined;
  /** The state to start from before the person chooses another, as a link calls it. */
  startFrom?: string | undefined;
}

type NetworkKind = "" | "off" | "fetch" | "relay";

/** What a link asks for, and the link. */
export function ShareForm({ image, name, states = [], startFrom = "" }: ShareFormProps) {
  const [choice, setChoice] = useState<ShareChoice>({ ...AS_THE_IMAGE_SAYS, snapshot: startFrom });
  const [networkKind, setNetworkKind] = useState<NetworkKind>("");
  const change = (part: Partial<ShareChoice>) => setChoice({ ...choice, ...part });
  const made = make(image, choice);
  return (
    <div className={styles.form}>
      <details>
        <summary className={styles.summary}>Choose how it starts</summary>
        <div className={styles.fields}>
          {states.length > 0 && (
            <SelectField
              label="Start from"
              value={choice.snapshot}
              options={[
                { value: "", words: "What the image says" },
                ...states.map(({ name, inLink }) => ({
                  value: inLink,
                  words: `Saved state “${name}”${inLink === name ? "" : ` (id ${inLink})`}`,
                })),
              ]}
              onChange={(snapshot) => change({ snapshot })}
            />
          )}
          <TextField
            label="Memory in MiB"
            value={choice.memory}
            maxLength={6}
            hint="Empty: what the image says. A saved state has its own."
            onChange={(memory) => change({ memory })}
          />
          <SelectField
            label="Network"
            value={networkKind}
            options={[
              { value: "", words: "What the image says" },
              { value: "off", words: "None" },
              { value: "fetch", words: "Web pages that the browser can fetch" },
              { value: "relay", words: "A relay" },
            ]}
            hint="Whoever opens the link is asked before any network is on."
            onChange={(kind) => {
              setNetworkKind(kind);
              change({ network: kind === "relay" ? "wss://" : kind });
            }}
          />
          {networkKind === "relay" && (
            <TextField
              label="Address of the relay"
              value={choice.network}
              maxLength={512}
              onChange={(network) => change({ network })}
            />
          )}
          <Choice
            type="checkbox"
            words="Keep nothing"
            hint="What is written to the machine is gone when it is closed."
            isChecked={choice.ephemeral}
            onChange={() => change({ ephemeral: !choice.ephemeral })}
          />
        </div>
      </details>
      {isOnlyHere(document.baseURI) && (
        <Notice tone="caution">
          This page is on your own computer, so its links work only there. Put the page on a web server to
          share them.
        </Notice>
      )}
      {made instanceof Error ? (
        <Notice tone="danger">{made.message}</Notice>
      ) : (
        <LinkOutputs {...made} name={name} />
      )}
    </div>
  );
}

function make(image: ShareFormProps["image"], choice: ShareChoice) {
  try {
    return shareLink(image, choice, document.baseURI);
  } catch (error) {
    return toByreError(error);
  }
}
