import type { ReactElement } from "react";
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
  return (
    <TooltipTrigger delay={AFTER_MS} isDisabled={isDisabled}>
      {children}
      <Tooltip className={styles.tip ?? ""} offset={4}>
        {text}
      </Tooltip>
    </TooltipTrigger>
  );
}
