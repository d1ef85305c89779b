import { type FormEvent, useEffect, useRef, useState } from "react";
import { Button } from "../components/button.tsx";
import { MAX_NAME_LENGTH, machineName } from "../library/machine-record.ts";
import styles from "./name-field.module.css";

export interface NameFieldProps {
  name: string;
  onDone: (name: string) => void;
  onCancel: () => void;
}

/** A machine's name, being changed where it stands. Enter keeps it, Escape leaves it. */
export function NameField({ name, onDone, onCancel }: NameFieldProps) {
  const [text, setText] = useState(name);
  const field = useRef<HTMLInputElement>(null);
  // The person asked for this field a moment ago.
  useEffect(() => field.current?.focus(), []);
  const next = machineName(text);
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (next === name) onCancel();
    else if (next) onDone(next);
  };
  return (
    <form className={styles.form} onSubmit={submit}>
      <input
        className={styles.input}
        aria-label={`New name for ${name}`}
        maxLength={MAX_NAME_LENGTH}
        value={text}
        ref={field}
        onChange={(event) => setText(event.target.value)}
        onKeyDown={(event) => event.key === "Escape" && onCancel()}
      />
      <Button type="submit" isDisabled={!next}>
        Rename
      </Button>
      <Button look="quiet" onPress={onCancel}>
        Cancel
      </Button>
    </form>
  );
}
