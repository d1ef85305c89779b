import { type Ref, useId } from "react";
import styles from "./text-field.module.css";

export interface TextFieldProps {
  label: string;
  value: string;
  onChange: (value: string) => void;
  maxLength: number;
  /** Several lines, which Enter does not send off. */
  multiline?: boolean;
  isDisabled?: boolean;
  /** A line below, read out with the field. */
  hint?: string;
  ref?: Ref<HTMLInputElement>;
}

/** One labelled field of a form. */
export function TextField({ label, value, onChange, maxLength, multiline, ref, ...rest }: TextFieldProps) {
  const id = useId();
  const { isDisabled = false, hint } = rest;
  const field = {
    id,
    className: styles.input,
    value,
    maxLength,
    disabled: isDisabled,
    "aria-describedby": hint ? `${id}-hint` : undefined,
  };
  return (
    <div className={styles.field}>
      <label htmlFor={id} className={styles.label}>
        {label}
      </label>
      {multiline ? (
        <textarea {...field} rows={3} onChange={(event) => onChange(event.target.value)} />
      ) : (
        <input {...field} ref={ref} onChange={(event) => onChange(event.target.value)} />
      )}
      {hint && (
        <p id={`${id}-hint`} className={styles.hint}>
          {hint}
        </p>
      )}
    </div>
  );
}
