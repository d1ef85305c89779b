import styles from "./brand.module.css";

/** The mark, a barn door, and the name. */
export function Brand() {
  return (
    <span className={styles.brand}>
      <svg viewBox="0 0 32 32" width="26" height="26" aria-hidden="true">
        <path className={styles.barn} d="M16 2 30 11v19H2V11Z" />
        <path className={styles.door} d="M9.8 15.8h12.4v13.4H9.8ZM9.8 15.8l12.4 13.4M22.2 15.8 9.8 29.2" />
      </svg>
      Byre
    </span>
  );
}
