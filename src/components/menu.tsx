import type { ReactNode } from "react";
import { Menu as AriaMenu, MenuItem, MenuTrigger } from "react-aria-components/Menu";
import { Popover } from "react-aria-components/Popover";
import styles from "./menu.module.css";

export interface MenuAction {
  readonly id: string;
  readonly label: string;
  readonly icon: ReactNode;
  readonly danger?: boolean;
  readonly act: () => void;
}

export interface MenuProps {
  label: string;
  /** The button that opens it. */
  children: ReactNode;
  actions: readonly MenuAction[];
}

export function Menu({ label, children, actions }: MenuProps) {
  return (
    <MenuTrigger>
      {children}
      <Popover className={styles.popover ?? ""} placement="bottom end">
        <AriaMenu
          className={styles.menu ?? ""}
          aria-label={label}
          onAction={(id) => actions.find((action) => action.id === id)?.act()}
        >
          {actions.map(({ id, label: text, icon, danger }) => (
            <MenuItem
              key={id}
              id={id}
              textValue={text}
              className={`${styles.item} ${danger ? styles.danger : ""}`}
            >
              {icon}
              {text}
            </MenuItem>
          ))}
        </AriaMenu>
      </Popover>
    </MenuTrigger>
  );
}
