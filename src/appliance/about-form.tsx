import { type FormEvent, useDeferredValue, useMemo, useState } from "react";
import type { Metadata } from "../../disk/index.ts";
import { Button } from "../components/button.tsx";
import { Buttons } from "../components/buttons.tsx";
import { formatBytes } from "../components/format.ts";
import { Notice } from "../components/notice.tsx";
import { SelectField } from "../components/select-field.tsx";
import { TextField } from "../components/text-field.tsx";
import {
  ABOUT_FIELDS,
  type AboutDraft,
  type AboutField,
  applyDraft,
  ICON_KEY,
  MESSAGE_KEY,
  problemWithField,
  START_KEY,
  whatToShrink,
} from "./about-draft.ts";
import styles from "./about-form.module.css";
import { AboutIcon } from "./about-icon.tsx";
import { measureMetadata } from "./image-metadata.ts";
import { MarkdownText } from "./markdown-text.tsx";
import { oneLine, severalLines } from "./plain-text.ts";

export interface AboutFormProps {
  /** What the image says now. */
  metadata: Metadata;
  /** As `readImageMetadata` gives it. */
  roomBytes: number;
  /** Names of the image's snapshots: whoever gets it can begin at one. */
  snapshotNames: readonly string[];
  /** Writes it into the image. What it throws is shown, and nothing that was typed is lost. */
  onSave: (metadata: Metadata) => Promise<void>;
  onCancel: () => void;
}

/** Typing stops here; an image holds at most 1 MiB. */
const MAX_TEXT_LENGTH = 256 * 1024;

/** Changes what a machine's image says of itself: what whoever is given the file sees first. */
export function AboutForm({ metadata, roomBytes, snapshotNames, onSave, onCancel }: AboutFormProps) {
  const [draft, setDraft] = useState<AboutDraft>(new Map());
  const [saving, setSaving] = useState(false);
  const [failure, setFailure] = useState<string>();
  const textOf = (key: string) => draft.get(key) ?? metadata.get(key) ?? "";
  const change = (key: string, value: string) => setDraft((before) => new Map(before).set(key, value));

  const next = useMemo(() => applyDraft(metadata, draft), [metadata, draft]);
  // Packing takes a moment; typing does not wait for it.
  const measured = useDeferredValue(next);
  const size = useMemo(() => measureMetadata(measured, roomBytes), [measured, roomBytes]);
  const tooLarge = whatToShrink(size, formatBytes);
  const isWrong = [...draft].some(([key, value]) => problemWithField(key, value) !== undefined);
  const others = [...next.keys()].filter(isOther);

  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (saving || isWrong || tooLarge) return;
    setSaving(true);
    setFailure(undefined);
    onSave(next)
      .catch((error: Error) => setFailure(error.message))
      .finally(() => setSaving(false));
  };

  return (
    <form
      className={styles.form}
      onSubmit={submit}
      // It would close the panel, and what was typed would be gone; "Cancel" says so.
      onKeyDown={(event) => event.key === "Escape" && draft.size > 0 && event.preventDefault()}
    >
      <p className={styles.lead}>
        This travels inside the machine's image: whoever gets the file sees it before the machine runs.
      </p>
      <AboutIcon
        value={textOf(ICON_KEY)}
        name={textOf("appliance.name")}
        isDisabled={saving}
        onChange={(value) => change(ICON_KEY, value)}
      />
      {ABOUT_FIELDS.map((field) => (
        <Field
          key={field.key}
          field={field}
          value={textOf(field.key)}
          isChanged={draft.has(field.key)}
          isDisabled={saving}
          onChange={(value) => change(field.key, value)}
        />
      ))}
      <StartField
        value={textOf(START_KEY)}
        snapshotNames={snapshotNames}
        isDisabled={saving}
        onChange={(value) => change(START_KEY, value)}
      />
      {others.length > 0 && (
        <section className={styles.others} aria-label="Also in the image">
          <h3 className={styles.heading}>Also in the image</h3>
          <ul>
            {others.map((key) => (
              <li key={key} className={styles.other}>
                <code className={styles.key}>{oneLine(key, 255)}</code>
                <Button
                  look="quiet"
                  isDisabled={saving}
                  aria-label={`Remove ${key}`}
                  onPress={() => change(key, "")}
                >
                  Remove
                </Button>
              </li>
            ))}
          </ul>
        </section>
      )}
      <div className={styles.size}>
        <p>
          {formatBytes(size.storedBytes)} of the {formatBytes(size.limitBytes)} that the image has room for
        </p>
        <meter
          className={styles.meter}
          aria-label="Room taken"
          max={Math.max(1, size.limitBytes)}
          value={Math.min(size.storedBytes, size.limitBytes)}
        />
      </div>
      {tooLarge && <Notice tone="caution">{tooLarge}</Notice>}
      {failure && (
        <Notice tone="danger" title="It could not be saved">
          <p>{failure}</p>
        </Notice>
      )}
      <Buttons>
        <Button look="primary" type="submit" isDisabled={saving || isWrong || tooLarge !== undefined}>
          {saving ? "Saving" : "Save"}
        </Button>
        <Button isDisabled={saving} onPress={onCancel}>
          Cancel
        </Button>
      </Buttons>
    </form>
  );
}

interface FieldProps {
  field: AboutField;
  value: string;
  /** By the person, in this form: what a stranger wrote is not complained of. */
  isChanged: boolean;
  isDisabled: boolean;
  onChange: (value: string) => void;
}

function Field({ field, value, isChanged, isDisabled, onChange }: FieldProps) {
  const { key, label, maxLength = MAX_TEXT_LENGTH, multiline = false, hint } = field;
  const problem = isChanged ? problemWithField(key, value) : undefined;
  return (
    <div className={styles.field}>
      <TextField
        label={label}
        value={value}
        maxLength={maxLength}
        multiline={multiline}
        isDisabled={isDisabled}
        {...(hint && { hint })}
        onChange={onChange}
      />
      {problem && <Notice tone="caution">{problem}</Notice>}
      {key === MESSAGE_KEY && value.trim() !== "" && (
        <details className={styles.preview}>
          <summary className={styles.summary}>How it will look</summary>
          <MarkdownText text={severalLines(value)} headingLevel={3} />
        </details>
      )}
    </div>
  );
}

interface StartFieldProps {
  /** What the image names; empty: nothing. */
  value: string;
  snapshotNames: readonly string[];
  isDisabled: boolean;
  onChange: (value: string) => void;
}

/** Where a machine that is made of the image begins. */
function StartField({ value, snapshotNames, isDisabled, onChange }: StartFieldProps) {
  const isMissing = value !== "" && !snapshotNames.includes(value);
  if (snapshotNames.length === 0 && !isMissing) return null;
  const options = [
    { value: "", words: "With its disk, as a computer that is switched on" },
    ...snapshotNames.map((name) => ({ value: name, words: `From the snapshot "${oneLine(name, 80)}"` })),
    ...(isMissing ? [{ value, words: `From "${oneLine(value, 80)}", which is not here` }] : []),
  ];
  return (
    <SelectField
      label="Where it begins for others"
      value={value}
      options={options}
      isDisabled={isDisabled}
      hint="From a snapshot it begins there at once. Its file has to hold that snapshot."
      onChange={onChange}
    />
  );
}

const SHOWN_KEYS = new Set([ICON_KEY, START_KEY, ...ABOUT_FIELDS.map(({ key }) => key)]);

function isOther(key: string): boolean {
  return !SHOWN_KEYS.has(key);
}
