import { ExternalLink } from "lucide-react";
import styles from "./full-page-link.module.css";

/** Whose frame this is: leads to the same machine on a page of its own, in another tab. */
export function FullPageLink({ hash }: { hash: string }) {
  return (
    <a
      className={styles.link}
      href={hash}
      target="_blank"
      rel="noopener"
      aria-label="Byre: open on a page of its own, in a new tab"
    >
      Byre
      <ExternalLink size={12} aria-hidden="true" />
    </a>
  );
}
