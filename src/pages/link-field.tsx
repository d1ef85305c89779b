import { type FormEvent, useLayoutEffect, useState } from "react";
import { Button } from "../components/button.tsx";
import { goTo } from "../components/page-location.ts";
import { TextField } from "../components/text-field.tsx";
import { parseMachineLink } from "../open/machine-link.ts";
import { applianceHash } from "./appliance-start.ts";
import styles from "./link-field.module.css";
import { openFiles } from "./open-files.ts";

/** Longer addresses are nobody's. */
const MAX_LINK_LENGTH = 4096;

/** A field for the address of an image, or of one of this page's links; pasting one anywhere on the page does the same. */
export function LinkField() {
  const [link, setLink] = useState("");
  const [problem, setProblem] = useState<string>();
  const show = (text: string) => setProblem(openLink(text));

  useLayoutEffect(() => {
    const paste = (event: ClipboardEvent) => {
      const { target, clipboardData } = event;
      const typing = target instanceof Element && target.closest("input, textarea, [contenteditable]");
      if (typing || !clipboardData) return;
      const files = [...clipboardData.files];
      const text = clipboardData.getData("text/plain").trim();
      if (files.length > 0) openFiles(files);
      else if (looksLikeLink(text)) {
        setLink(text.slice(0, MAX_LINK_LENGTH));
        setProblem(openLink(text));
      } else return;
      event.preventDefault();
    };
    document.addEventListener("paste", paste);
    return () => document.removeEventListener("paste", paste);
  }, []);

  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (link.trim() !== "") show(link.trim());
  };
  return (
    <form className={styles.form} onSubmit={submit}>
      <TextField
        label="Address of an image"
        value={link}
        maxLength={MAX_LINK_LENGTH}
        onChange={(next) => {
          setLink(next);
          setProblem(undefined);
        }}
      />
      <Button type="submit">Open link</Button>
      {problem && (
        <p className={styles.problem} role="alert">
          {problem}
        </p>
      )}
    </form>
  );
}

/** What is pasted by mistake is left alone. */
function looksLikeLink(text: string): boolean {
  return text.length <= MAX_LINK_LENGTH && /^https?:\/\/\S+$/i.test(text);
}

/**
 * Goes where an address leads: to what an image says of itself, or to what a link of a page like this one runs, which asks
 * first.
 *
 * @returns what is wrong with it.
 */
function openLink(text: string): string | undefined {
  if (text.length > MAX_LINK_LENGTH)
    return `This address is longer than ${MAX_LINK_LENGTH} characters; no image has one like that.`;
  try {
    // Whoever types an address leaves out what a browser would add.
    const link = /^[\w-]+(\.[\w-]+)+(:\d+)?\//.test(text) ? `https://${text}` : text;
    const machineLink = parseMachineLink(link, document.baseURI);
    if (machineLink.kind === "gallery") return "This link leads to this page and to no machine.";
    if (link.includes("#")) goTo(link.slice(link.indexOf("#")));
    else if (machineLink.kind === "image") goTo(applianceHash(machineLink.image.url));
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}
