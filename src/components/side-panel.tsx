import { X } from "lucide-react";
import { type ReactNode, type Ref, useId } from "react";
import { Button } from "./button.tsx";
import styles from "./side-panel.module.css";

export interface SidePanelProps {
  /** For `aria-controls` of what opens it. */
  id?: string;
  title: ReactNode;
  closeLabel: string;
  onClose: () => void;
  /** The heading; it can be given the focus, to be read out. */
  headingRef?: Ref<HTMLHeadingElement>;
  children: ReactNode;
}

/** A panel beside a machine; where it is narrow, over it. Escape closes it. */
export function SidePanel({ id, title, closeLabel, onClose, headingRef, children }: SidePanelProps) {
  const titleId = useId();
  return (
    <aside
      id={id}
      className={styles.panel}
      aria-labelledby={titleId}
      onKeyDown={(event) => {
        // Of a word that is being composed it ends that only.
        if (event.key === "Escape" && !event.defaultPrevented && !event.nativeEvent.isComposing) onClose();
      }}
    >
      <div className={styles.head}>
        <h2 id={titleId} className={styles.title} tabIndex={-1} ref={headingRef} dir="auto">
          {title}
        </h2>
        <Button look="quiet" iconOnly aria-label={closeLabel} onPress={onClose}>
          <X size={18} aria-hidden="true" />
        </Button>
      </div>
      <div className={styles.body}>{children}</div>
    </aside>
  );
}
