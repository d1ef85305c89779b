import { Search } from "lucide-react";
import { useId } from "react";
import { GALLERY_ORDERS, type GalleryOrder } from "./gallery-order.ts";
import styles from "./gallery-tools.module.css";

export interface GalleryToolsProps {
  search: string;
  onSearch: (search: string) => void;
  order: GalleryOrder;
  onOrder: (order: GalleryOrder) => void;
}

const MAX_SEARCH_LENGTH = 200;

/** What to show of the gallery, and in which order. */
export function GalleryTools({ search, onSearch, order, onOrder }: GalleryToolsProps) {
  const id = useId();
  return (
    <search className={styles.tools}>
      <div className={styles.search}>
        <Search className={styles.glass ?? ""} size={16} aria-hidden="true" />
        <input
          className={styles.field}
          type="search"
          aria-label="Search machines and appliances"
          placeholder="Search"
          value={search}
          maxLength={MAX_SEARCH_LENGTH}
          onChange={(event) => onSearch(event.target.value)}
          onKeyDown={(event) => event.key === "Escape" && onSearch("")}
        />
      </div>
      <div className={styles.order}>
        <label className={styles.label} htmlFor={id}>
          Sort by
        </label>
        <select
          className={styles.field}
          id={id}
          value={order}
          onChange={(event) => onOrder(event.target.value as GalleryOrder)}
        >
          {Object.entries(GALLERY_ORDERS).map(([key, words]) => (
            <option key={key} value={key}>
              {words}
            </option>
          ))}
        </select>
      </div>
    </search>
  );
}
