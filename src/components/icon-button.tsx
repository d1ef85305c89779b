import type { LucideIcon } from "lucide-react";
import { Tooltip, TooltipTrigger } from "react-aria-components/Tooltip";
import { Button, type ButtonProps } from "./button.tsx";
import styles from "./icon-button.module.css";

export interface IconButtonProps extends ButtonProps {
  /** Read out, and shown beside it while it is pointed at or has the focus. */
  label: string;
  icon: LucideIcon;
}

/** A button that is an icon alone. */
export function IconButton({ label, icon: Icon, ...props }: IconButtonProps) {
  return (
    <TooltipTrigger delay={500}>
      <Button look="quiet" iconOnly aria-label={label} {...props}>
        <Icon size={17} aria-hidden="true" />
      </Button>
      <Tooltip className={styles.tip ?? ""} offset={4}>
        {label}
      </Tooltip>
    </TooltipTrigger>
  );
}
