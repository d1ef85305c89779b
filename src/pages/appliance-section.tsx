import { Notice } from "../components/notice.tsx";
import { CATALOG_PATH } from "../library/appliance-list.ts";
import type { ApplianceListing } from "../library/use-appliances.ts";
import type { MachineListing } from "../library/use-machines.ts";
import { ApplianceCard } from "./appliance-card.tsx";
import styles from "./gallery-page.module.css";

export interface ApplianceSectionProps {
  /** All of the catalogue; undefined until it was read. */
  appliances: readonly ApplianceListing[] | undefined;
  /** Those of them that were searched for, in order. */
  shown: readonly ApplianceListing[] | undefined;
  search: string;
  /** What of the catalogue could not be read. */
  problem: string | undefined;
  machines: readonly MachineListing[];
  onSeen: (url: string) => void;
}

/** The appliances that this site offers. */
export function ApplianceSection(props: ApplianceSectionProps) {
  const { appliances, shown, search, problem, machines, onSeen } = props;
  return (
    <section aria-labelledby="appliances" className={styles.section}>
      <h2 id="appliances" className={styles.heading}>
        Appliances
      </h2>
      {problem && <Notice tone="caution">{problem}</Notice>}
      {shown && shown.length > 0 && (
        <ul className={styles.cards}>
          {shown.map((appliance) => (
            <ApplianceCard key={appliance.url} appliance={appliance} machines={machines} onSeen={onSeen} />
          ))}
        </ul>
      )}
      {(appliances === undefined || appliances.length === 0 || shown?.length === 0) && (
        <div className={styles.empty} aria-busy={appliances === undefined}>
          {appliances?.length === 0 && !problem && (
            <>
              <p className={styles.emptyTitle}>None offered here</p>
              <p>
                An appliance is a disk image that describes itself. Whoever runs this site lists images in{" "}
                <code>{CATALOG_PATH}</code>; any other opens by its link, or dropped as a file.
              </p>
            </>
          )}
          {appliances && appliances.length > 0 && (
            <p role="status">
              None of the {appliances.length} says anything of “{search}”.
            </p>
          )}
        </div>
      )}
    </section>
  );
}
