import type { LucideIcon } from "lucide-react";
import type { ReactNode } from "react";
import { Menu as AriaMenu, MenuItem as AriaMenuItem, MenuTrigger } from "react-aria-components/Menu";
import { Popover, type PopoverProps } from "react-aria-components/Popover";
import styles from "./menu.module.css";

export interface MenuProps {
  /** Read out when it opens. */
  label: string;
  /** The button that opens it. */
  button: ReactNode;
  children: ReactNode;
  placement?: PopoverProps["placement"];
}

/** A button with a menu: arrow keys go through it, a letter goes to what begins with it, Escape closes it. */
export function Menu({ label, button, children, placement = "bottom end" }: MenuProps) {
  return (
    <MenuTrigger>
      {button}
      <Popover className={styles.popover ?? ""} placement={placement}>
        <AriaMenu className={styles.menu ?? ""} aria-label={label}>
          {children}
        </AriaMenu>
      </Popover>
    </MenuTrigger>
  );
}

export interface MenuItemProps {
  id: string;
  label: string;
  icon?: LucideIcon;
  /** A word or two at its end, such as keys. */
  detail?: string;
  isDisabled?: boolean;
  onAction: () => void;
}

export function MenuItem({ id, label, icon: Icon, detail, isDisabled = false, onAction }: MenuItemProps) {
  return (
    <AriaMenuItem
      id={id}
      className={styles.item ?? ""}
      textValue={label}
      isDisabled={isDisabled}
      onAction={onAction}
    >
      {Icon && <Icon size={17} aria-hidden="true" />}
      <span className={styles.label}>{label}</span>
      {detail && <span className={styles.detail}>{detail}</span>}
    </AriaMenuItem>
  );
}
