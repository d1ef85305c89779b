import { ExternalLink } from "lucide-react";
import { type ReactNode, useId, useState } from "react";
import { Button as AriaButton } from "react-aria-components/Button";
import styles from "./web-link.module.css";

export interface WebLinkProps {
  /** What `webAddress` gave: http or https. */
  url: string;
  children: ReactNode;
}

/**
 * A link that a stranger has put here. A click shows where it leads; only a second one goes there, in a tab of its
 * own that knows nothing of this one.
 */
export function WebLink({ url, children }: WebLinkProps) {
  const [shown, setShown] = useState(false);
  const id = useId();
  const { origin, href } = new URL(url);
  return (
    <span dir="auto">
      <AriaButton
        className={styles.text ?? ""}
        aria-expanded={shown}
        {...(shown && { "aria-controls": id })}
        onPress={() => setShown(!shown)}
      >
        {children}
      </AriaButton>
      {shown && (
        <span id={id} className={styles.address}>
          {/* Always from left to right, and the site in bold: an address can try to look like another. */}
          <bdo dir="ltr" className={styles.url}>
            <b>{origin}</b>
            {href.slice(origin.length)}
          </bdo>
          <a className={styles.open} href={url} target="_blank" rel="noopener noreferrer nofollow">
            Open in a new tab
            <ExternalLink size={14} aria-hidden="true" />
          </a>
        </span>
      )}
    </span>
  );
}
