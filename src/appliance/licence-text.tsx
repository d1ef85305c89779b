import styles from "./licence-text.module.css";

export interface LicenceTextProps {
  title: string;
  /** A stranger's text, as `severalLines` gives it. */
  text: string;
}

/** A licence as it was written, whole, in a frame that scrolls. */
export function LicenceText({ title, text }: LicenceTextProps) {
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: it scrolls, so the keyboard must reach it
    <section className={styles.licence} aria-label={title} tabIndex={0} dir="auto">
      {text}
    </section>
  );
}
