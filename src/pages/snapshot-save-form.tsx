import { Camera } from "lucide-react";
import { type FormEvent, useEffect, useRef, useState } from "react";
import { Button } from "../components/button.tsx";
import { Notice } from "../components/notice.tsx";
import { TextField } from "../components/text-field.tsx";
import { MAX_NAME_LENGTH, machineName } from "../library/machine-record.ts";
import type { MachineSession } from "../open/machine-session.ts";
import { ActivityProgress } from "./activity-progress.tsx";
import styles from "./snapshot-form.module.css";
import { MAX_DESCRIPTION_LENGTH, proposedName } from "./snapshot-names.ts";

export interface SnapshotSaveFormProps {
  session: MachineSession;
  state: MachineSession["state"];
  /** Names that there are. */
  taken: readonly string[];
}

/** Saves the machine as it is. While something is being saved or restored, that takes the place of the form. */
export function SnapshotSaveForm({ session, state, taken }: SnapshotSaveFormProps) {
  const [typed, setTyped] = useState<string>();
  const [description, setDescription] = useState<string>();
  const [failure, setFailure] = useState<string>();
  const { activity } = session;
  const name = machineName(typed ?? proposedName(taken));
  const replaces = taken.includes(name);
  const saveButton = useRef<HTMLButtonElement>(null);
  const saved = useRef(false);
  const busy = activity !== undefined && activity.kind !== "autosaving";
  const on = state === "running" || state === "paused";

  useEffect(() => {
    // The form is back, and what had the focus in it is not.
    if (!busy && saved.current && document.activeElement === document.body) saveButton.current?.focus();
    if (!busy) saved.current = false;
  }, [busy]);

  const save = async () => {
    saved.current = true;
    setFailure(undefined);
    try {
      await session.save(name, description?.trim() ? { description: description.trim() } : {});
      setTyped(undefined);
      setDescription(undefined);
    } catch (error) {
      if ((error as { code?: string }).code !== "CANCELLED") setFailure((error as Error).message);
    }
  };
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (name && on) void save();
  };

  if (activity && busy) {
    return <ActivityProgress activity={activity} machineName={session.name} />;
  }
  return (
    <form className={styles.form} onSubmit={submit}>
      <div className={styles.row}>
        <TextField
          label="New snapshot"
          value={typed ?? proposedName(taken)}
          onChange={setTyped}
          maxLength={MAX_NAME_LENGTH}
          isDisabled={!on}
          {...(replaces && { hint: "Takes the place of the one of that name." })}
        />
        <Button look="primary" type="submit" ref={saveButton} isDisabled={!on || !name}>
          <Camera size={16} aria-hidden="true" />
          {replaces ? "Replace" : "Save"}
        </Button>
      </div>
      {description === undefined ? (
        <Button look="quiet" isDisabled={!on} onPress={() => setDescription("")}>
          Add a description
        </Button>
      ) : (
        <TextField
          label="Description"
          value={description}
          onChange={setDescription}
          maxLength={MAX_DESCRIPTION_LENGTH}
          isDisabled={!on}
          multiline
        />
      )}
      {!on && <p className={styles.hint}>Only a machine that is on can be saved.</p>}
      {failure && (
        <Notice tone="danger" title="Nothing was saved">
          <p>{failure}</p>
        </Notice>
      )}
    </form>
  );
}
