import type { ReactNode } from "react";
import styles from "./choice.module.css";

export interface ChoiceProps {
  /** One of the several with its `name`, or on and off by itself. */
  type: "radio" | "checkbox";
  name?: string;
  words: string;
  /** A line below, read out with the words. */
  hint?: ReactNode;
  isChecked: boolean;
  onChange: () => void;
}

export interface ChoicesProps {
  isDisabled?: boolean;
  /** A legend, and the choices. */
  children: ReactNode;
}

/** Several choices that belong together. */
export function Choices({ isDisabled = false, children }: ChoicesProps) {
  return (
    <fieldset className={styles.choices} disabled={isDisabled}>
      {children}
    </fieldset>
  );
}

/** A box or a point to tick, of a form. */
export function Choice({ words, hint, isChecked, ...input }: ChoiceProps) {
  return (
    <label className={styles.choice}>
      <input {...input} checked={isChecked} />
      <span>
        {words}
        {hint && <small>{hint}</small>}
      </span>
    </label>
  );
}
