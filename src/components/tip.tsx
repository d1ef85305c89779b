import { type ReactElement, useState } from "react";
import { Tooltip, TooltipTrigger } from "react-aria-components/Tooltip";
import styles from "./tip.module.css";

const AFTER_MS = 500;

export interface TipProps {
  text: string;
  isDisabled?: boolean;
  /** A button. */
  children: ReactElement;
}

/** Words beside a button while it is pointed at or has the focus. */
export function Tip({ text, isDisabled = false, children }: TipProps) {
  const [open, setOpen] = useState(false);
  return (
    // One that is open goes away too when it becomes disabled; it would take an Escape for itself.
    <TooltipTrigger
      delay={AFTER_MS}
      isDisabled={isDisabled}
      isOpen={open && !isDisabled}
      onOpenChange={setOpen}
    >
      {children}
      <Tooltip className={styles.tip ?? ""} offset={4}>
        {text}
      </Tooltip>
    </TooltipTrigger>
  );
}
