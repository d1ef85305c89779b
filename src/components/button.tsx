import type { Ref } from "react";
import { Button as AriaButton, type ButtonProps as AriaButtonProps } from "react-aria-components/Button";
import styles from "./button.module.css";

export interface ButtonProps extends Omit<AriaButtonProps, "className" | "style"> {
  /** `primary`: the one thing to do here. `quiet`: in toolbars and rows. Default: `plain`. */
  look?: "primary" | "plain" | "quiet" | "danger";
  /** Square, for an icon alone; give an `aria-label`. */
  iconOnly?: boolean;
  ref?: Ref<HTMLButtonElement>;
}

export function Button({ look = "plain", iconOnly = false, ...props }: ButtonProps) {
  return (
    <AriaButton {...props} className={`${styles.button} ${styles[look]} ${iconOnly ? styles.icon : ""}`} />
  );
}
