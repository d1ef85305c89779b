import { useEffect, useState } from "react";
import { Button } from "../components/button.tsx";
import { formatBytes } from "../components/format.ts";
import styles from "./storage-line.module.css";

/** What the machines take together, and whether the browser may clear it by itself. */
export function StorageLine({ storedBytes }: { storedBytes: number }) {
  const [persisted, setPersisted] = useState<boolean | "refused">();
  useEffect(() => {
    navigator.storage?.persisted?.().then(setPersisted, () => {});
  }, []);
  const ask = () => {
    navigator.storage.persist().then(
      (granted) => setPersisted(granted || "refused"),
      () => setPersisted("refused"),
    );
  };
  return (
    <p className={styles.line}>
      <span>{formatBytes(storedBytes)} in this browser.</span>
      {persisted === true && <span>The browser keeps it until you delete it.</span>}
      {persisted === false && (
        <>
          <span>When the disk is short of space the browser may clear it.</span>
          <Button look="quiet" onPress={ask}>
            Ask it to keep it
          </Button>
        </>
      )}
      {persisted === "refused" && (
        <span>
          The browser did not promise to keep it. A bookmark for this page may change its mind; an export
          keeps a copy of your own.
        </span>
      )}
    </p>
  );
}
