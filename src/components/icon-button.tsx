import type { LucideIcon } from "lucide-react";
import { Button, type ButtonProps } from "./button.tsx";
import { Tip } from "./tip.tsx";

export interface IconButtonProps extends ButtonProps {
  /** Read out, and shown beside it while it is pointed at or has the focus. */
  label: string;
  icon: LucideIcon;
}

/** A button that is an icon alone. */
export function IconButton({ label, icon: Icon, ...props }: IconButtonProps) {
  return (
    <Tip text={label}>
      <Button look="quiet" iconOnly aria-label={label} {...props}>
        <Icon size={17} aria-hidden="true" />
      </Button>
    </Tip>
  );
}
