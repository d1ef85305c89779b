import { Check, ChevronRight, type LucideIcon } from "lucide-react";
import type { ReactNode } from "react";
import {
  Menu as AriaMenu,
  MenuItem as AriaMenuItem,
  MenuSection as AriaMenuSection,
  Header,
  MenuTrigger,
  SubmenuTrigger,
} from "react-aria-components/Menu";
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
      <MenuPopover placement={placement}>
        <AriaMenu className={styles.menu ?? ""} aria-label={label}>
          {children}
        </AriaMenu>
      </MenuPopover>
    </MenuTrigger>
  );
}

export interface MenuItemProps {
  id: string;
  label: string;
  icon?: LucideIcon | undefined;
  /** A word or two at its end. */
  detail?: string | undefined;
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

/** An entry that opens a menu of its own. */
export function Submenu({ id, label, children }: { id: string; label: string; children: ReactNode }) {
  return (
    <SubmenuTrigger>
      <AriaMenuItem id={id} className={styles.item ?? ""} textValue={label}>
        <span className={styles.label}>{label}</span>
        <ChevronRight size={15} aria-hidden="true" />
      </AriaMenuItem>
      <MenuPopover>
        <AriaMenu className={styles.menu ?? ""} aria-label={label}>
          {children}
        </AriaMenu>
      </MenuPopover>
    </SubmenuTrigger>
  );
}

export interface MenuChoiceProps<Value extends string> {
  /** Above the choices. */
  title: string;
  choices: readonly { readonly id: Value; readonly label: string; readonly detail?: string }[];
  chosen: Value;
  onChoose: (value: Value) => void;
}

/** Entries of which one is chosen. */
export function MenuChoice<Value extends string>(props: MenuChoiceProps<Value>) {
  const { title, choices, chosen, onChoose } = props;
  return (
    <AriaMenuSection
      selectionMode="single"
      disallowEmptySelection
      selectedKeys={[chosen]}
      onSelectionChange={(keys) => {
        const next = choices.find(({ id }) => keys === "all" || keys.has(id));
        if (next) onChoose(next.id);
      }}
    >
      <Header className={styles.title ?? ""}>{title}</Header>
      {choices.map(({ id, label, detail }) => (
        <AriaMenuItem key={id} id={id} className={styles.item ?? ""} textValue={label}>
          <span className={styles.check}>{id === chosen && <Check size={15} aria-hidden="true" />}</span>
          <span className={styles.label}>{label}</span>
          {detail && <span className={styles.detail}>{detail}</span>}
        </AriaMenuItem>
      ))}
    </AriaMenuSection>
  );
}

function MenuPopover({ placement, children }: Pick<PopoverProps, "placement"> & { children: ReactNode }) {
  const { fullscreenElement } = document;
  return (
    <Popover
      className={styles.popover ?? ""}
      {...(placement && { placement })}
      // Of a page with something on the full screen nothing else is seen.
      {...(fullscreenElement && { UNSTABLE_portalContainer: fullscreenElement })}
    >
      {children}
    </Popover>
  );
}
