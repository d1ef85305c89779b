import { Info, Play, Zap } from "lucide-react";
import { useEffect, useRef } from "react";
import { Link } from "wouter";
import { ApplianceIcon } from "../appliance/appliance-icon.tsx";
import { Button } from "../components/button.tsx";
import { formatBytes } from "../components/format.ts";
import type { ListedAppliance } from "../library/appliance-facts.ts";
import type { ApplianceListing } from "../library/use-appliances.ts";
import type { MachineListing } from "../library/use-machines.ts";
import styles from "./appliance-card.module.css";
import { applianceHash, isOwnFile, startAppliance } from "./appliance-start.ts";
import { applianceName } from "./gallery-order.ts";

export interface ApplianceCardProps {
  appliance: ApplianceListing;
  machines: readonly MachineListing[];
  /** Called once the card is on the screen, or nearly. */
  onSeen: (url: string) => void;
}

/** How far off the screen a card is looked at: it has its name by the time it is scrolled to. */
const SEEN_MARGIN = "600px";

/** An appliance as its image describes itself. */
export function ApplianceCard({ appliance, machines, onSeen }: ApplianceCardProps) {
  const { url, facts } = appliance;
  const card = useRef<HTMLLIElement>(null);
  useEffect(() => {
    const observer = new IntersectionObserver(
      ([entry]) => {
        if (entry?.isIntersecting) onSeen(url);
      },
      { rootMargin: SEEN_MARGIN },
    );
    if (card.current) observer.observe(card.current);
    return () => observer.disconnect();
  }, [url, onSeen]);

  const name = applianceName(appliance);
  const present = facts?.state === "present" ? facts : undefined;
  const missing = facts?.state === "present" ? undefined : facts;
  const made = machines.some(
    ({ record }) => record.base.source.kind === "url" && record.base.source.url === url,
  );
  return (
    <li className={styles.card} ref={card} aria-busy={facts === undefined}>
      <ApplianceIcon icon={present?.icon} name={name} />
      <div className={styles.text}>
        <h3 className={styles.name} title={name} dir="auto">
          {name}
        </h3>
        {missing === undefined ? (
          <p className={styles.summary} title={present?.summary} dir="auto">
            {present && (present.summary ?? present.problem ?? "This image says nothing about itself.")}
          </p>
        ) : (
          <p className={styles.reason}>
            {missing.message} {missing.state === "absent" && isOwnFile(url) && <HowToBuild />}
          </p>
        )}
      </div>
      <div className={styles.foot}>
        {missing === undefined ? (
          <>
            <Button
              look="primary"
              onPress={() => startAppliance(url)}
              aria-label={made ? `New ${name}` : `Start ${name}`}
            >
              <Play size={16} aria-hidden="true" />
              {made ? "New machine" : "Start"}
            </Button>
            <Link
              href={applianceHash(url).slice(1)}
              className={styles.about ?? ""}
              aria-label={`About ${name}`}
            >
              <Info size={16} aria-hidden="true" />
              About
            </Link>
            <p className={styles.facts}>{present && <Facts {...present} />}</p>
          </>
        ) : (
          <p className={styles.address}>{url}</p>
        )}
      </div>
    </li>
  );
}

function Facts({ fileBytes, startsAtOnce }: ListedAppliance) {
  return (
    <>
      {startsAtOnce && (
        <span className={styles.ready}>
          <Zap size={14} aria-hidden="true" />
          Starts at once
        </span>
      )}
      {fileBytes !== undefined && (
        <span>
          up to {formatBytes(fileBytes)}
          <span className="visually-hidden"> to fetch</span>
        </span>
      )}
    </>
  );
}

function HowToBuild() {
  return (
    <>
      Where this page is run from its source, <code>npm start</code> builds it.
    </>
  );
}
