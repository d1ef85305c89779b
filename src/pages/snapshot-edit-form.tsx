import { type FormEvent, useEffect, useRef, useState } from "react";
import { Button } from "../components/button.tsx";
import { Buttons } from "../components/buttons.tsx";
import { TextField } from "../components/text-field.tsx";
import { MAX_NAME_LENGTH, machineName } from "../library/machine-record.ts";
import styles from "./snapshot-form.module.css";
import { MAX_DESCRIPTION_LENGTH } from "./snapshot-names.ts";

export interface SnapshotEditFormProps {
  name: string;
  /** Undefined for a snapshot that can have none. */
  description: string | undefined;
  onDone: (change: { name?: string; description?: string }) => void;
  onCancel: () => void;
}

/** A snapshot's name and description, being changed where they stand. Enter keeps the name. */
export function SnapshotEditForm({ name, description, onDone, onCancel }: SnapshotEditFormProps) {
  const [nextName, setNextName] = useState(name);
  const [nextDescription, setNextDescription] = useState(description ?? "");
  const field = useRef<HTMLInputElement>(null);
  // The person asked for this field a moment ago.
  useEffect(() => field.current?.select(), []);
  const cleaned = machineName(nextName);
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (!cleaned) return;
    const change = {
      ...(cleaned !== name && { name: cleaned }),
      ...(description !== undefined &&
        nextDescription.trim() !== description && {
          description: nextDescription.trim(),
        }),
    };
    if (Object.keys(change).length === 0) onCancel();
    else onDone(change);
  };
  return (
    <form className={styles.form} onSubmit={submit}>
      <TextField
        label="Name"
        value={nextName}
        onChange={setNextName}
        maxLength={MAX_NAME_LENGTH}
        ref={field}
      />
      {description !== undefined && (
        <TextField
          label="Description"
          value={nextDescription}
          onChange={setNextDescription}
          maxLength={MAX_DESCRIPTION_LENGTH}
          multiline
        />
      )}
      <Buttons>
        <Button type="submit" isDisabled={!cleaned}>
          Keep changes
        </Button>
        <Button look="quiet" onPress={onCancel}>
          Cancel
        </Button>
      </Buttons>
    </form>
  );
}
