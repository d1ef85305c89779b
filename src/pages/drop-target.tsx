import { type ReactNode, useLayoutEffect, useState } from "react";
import { takesFiles } from "../machine-tools/offered-files.ts";
import styles from "./drop-target.module.css";
import { filesOfDrop } from "./dropped-files.ts";
import { openFiles } from "./open-files.ts";

/** Makes the whole page take files that are dropped on it. */
export function DropTarget({ children }: { children: ReactNode }) {
  const [over, setOver] = useState(false);
  // As soon as the page is to be seen: a file that nobody takes would replace it.
  useLayoutEffect(() => {
    const hasFiles = (event: DragEvent) => event.dataTransfer?.types.includes("Files") ?? false;
    const drag = (event: DragEvent) => {
      if (!hasFiles(event)) return;
      event.preventDefault();
      setOver(true);
    };
    const leave = (event: DragEvent) => {
      // Without a place it goes to, the pointer has left the window.
      if (event.relatedTarget === null) setOver(false);
    };
    const drop = (event: DragEvent) => {
      if (!hasFiles(event)) return;
      event.preventDefault();
      setOver(false);
      const { dataTransfer } = event;
      if (!dataTransfer) return;
      // Where a folder cannot be read, the browser's own list says what can be named.
      const files = [...dataTransfer.files];
      filesOfDrop(dataTransfer).then(openFiles, () => openFiles(files));
    };
    window.addEventListener("dragover", drag);
    window.addEventListener("dragleave", leave);
    window.addEventListener("drop", drop);
    return () => {
      window.removeEventListener("dragover", drag);
      window.removeEventListener("dragleave", leave);
      window.removeEventListener("drop", drop);
    };
  }, []);
  return (
    <>
      {children}
      {over && (
        <div className={styles.over} aria-hidden="true">
          <p>{takesFiles() ? "Drop to give it to the machine" : "Drop to run it"}</p>
        </div>
      )}
    </>
  );
}
