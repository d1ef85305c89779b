import type { Metadata } from "../../disk/index.ts";
import styles from "./metadata-list.module.css";
import { oneLine, severalLines } from "./plain-text.ts";

/** What is shown of it: an image can have a quarter of a million keys, or a value of a megabyte. */
const MAX_KEYS = 100;
const MAX_VALUE_LENGTH = 600;

/** All that an image says of itself, key by key, as text. */
export function MetadataList({ metadata }: { metadata: Metadata }) {
  const shown = [...metadata].slice(0, MAX_KEYS);
  return (
    <>
      <dl className={styles.list}>
        {shown.map(([key, value]) => (
          <div key={key} className={styles.pair}>
            <dt className={styles.key}>{oneLine(key, 255)}</dt>
            <dd className={styles.value} dir="auto">
              {severalLines(value.slice(0, MAX_VALUE_LENGTH))}
              {value.length > MAX_VALUE_LENGTH && (
                <span className={styles.rest}> … and {value.length - MAX_VALUE_LENGTH} more characters</span>
              )}
            </dd>
          </div>
        ))}
      </dl>
      {metadata.size > shown.length && <p>And {metadata.size - shown.length} more keys.</p>}
    </>
  );
}
