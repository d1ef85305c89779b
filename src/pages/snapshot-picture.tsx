import { useEffect, useState } from "react";
import type { SnapshotDescription } from "../../emulator/index.ts";
import styles from "./snapshot-picture.module.css";

/** What was on the guest's screen; black where nothing is known of it. */
export function SnapshotPicture({ thumbnail }: { thumbnail: SnapshotDescription["thumbnail"] }) {
  const [url, setUrl] = useState<string>();
  useEffect(() => {
    if (!thumbnail) return setUrl(undefined);
    const made = URL.createObjectURL(new Blob([thumbnail.bytes], { type: thumbnail.type }));
    setUrl(made);
    return () => URL.revokeObjectURL(made);
  }, [thumbnail]);
  return <div className={styles.picture}>{url && <img src={url} alt="" />}</div>;
}
