import { useEffect, useState } from "react";
import { Button } from "../components/button.tsx";
import { formatBytes } from "../components/format.ts";
import { goTo } from "../components/page-location.ts";
import styles from "./storage-line.module.css";

export interface StorageLineProps {
  storedBytes: number;
  /** With a way to the page that tells what takes it. */
  hasDetails?: boolean;
}

/** What the machines take together, and whether the browser may clear it by itself. */
export function StorageLine({ storedBytes, hasDetails = false }: StorageLineProps) {
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
      {hasDetails && (
        <Button look="quiet" onPress={() => goTo("/storage")}>
          See what takes it
        </Button>
      )}
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
