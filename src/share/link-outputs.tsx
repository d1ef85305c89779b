import { Check, Copy } from "lucide-react";
import { useEffect, useId, useRef, useState } from "react";
import { Button } from "../components/button.tsx";
import styles from "./link-outputs.module.css";
import { QrCode } from "./qr-code.tsx";
import { embedSnippet } from "./share-link.ts";

export interface LinkOutputsProps {
  /** Whole address. */
  link: string;
  /** The same machine for a frame. */
  frameLink: string;
  /** Of the machine. */
  name: string;
}

/** A link in every form in which it is handed on. */
export function LinkOutputs({ link, frameLink, name }: LinkOutputsProps) {
  return (
    <div className={styles.outputs}>
      <CopyField label="Link" text={link} />
      <details>
        <summary className={styles.summary}>QR code, for a phone</summary>
        <QrCode text={link} label={`QR code of the link to ${name}`} />
      </details>
      <details>
        <summary className={styles.summary}>Show it in a page of your own</summary>
        <CopyField label="HTML" text={embedSnippet(frameLink, name)} lines={5} />
      </details>
    </div>
  );
}

/** How long it is shown whether it was copied. */
const COPIED_MS = 5000;

function CopyField({ label, text, lines = 3 }: { label: string; text: string; lines?: number }) {
  const id = useId();
  const field = useRef<HTMLTextAreaElement>(null);
  const [copied, setCopied] = useState<{ readonly text: string; readonly done: boolean }>();
  const done = copied?.text === text && copied.done;
  const failed = copied?.text === text && !copied.done;
  useEffect(() => {
    if (copied === undefined) return undefined;
    const timer = setTimeout(() => setCopied(undefined), COPIED_MS);
    return () => clearTimeout(timer);
  }, [copied]);
  const copy = async () => {
    field.current?.select();
    try {
      await navigator.clipboard.writeText(text);
      setCopied({ text, done: true });
    } catch {
      // Where a page may not. It is selected.
      setCopied({ text, done: false });
    }
  };
  return (
    <div className={styles.field}>
      <label className={styles.label} htmlFor={id}>
        {label}
      </label>
      <textarea
        id={id}
        ref={field}
        className={styles.text}
        readOnly
        rows={lines}
        spellCheck={false}
        dir="ltr"
        value={text}
        onFocus={(event) => event.target.select()}
      />
      <div className={styles.copy}>
        <Button onPress={copy}>
          {done ? <Check size={16} aria-hidden="true" /> : <Copy size={16} aria-hidden="true" />}
          {label === "Link" ? "Copy link" : `Copy ${label}`}
        </Button>
        <span role="status" className={styles.copied}>
          {done ? "Copied" : failed ? "Press Ctrl-C to copy it" : ""}
        </span>
      </div>
    </div>
  );
}
