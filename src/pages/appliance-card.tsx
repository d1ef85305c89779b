import { Play } from "lucide-react";
import { useEffect, useState } from "react";
import { Button } from "../components/button.tsx";
import { formatBytes } from "../components/format.ts";
import { goTo } from "../components/page-location.ts";
import { type ApplianceFacts, lookAtAppliance } from "../library/appliance-facts.ts";
import type { Appliance } from "../library/appliance-list.ts";
import type { MachineListing } from "../library/use-machines.ts";
import { imageHash, parseMachineLink } from "../open/machine-link.ts";
import { opener } from "../open/opener.ts";
import styles from "./appliance-card.module.css";

export interface ApplianceCardProps {
  appliance: Appliance;
  machines: readonly MachineListing[];
}

export function ApplianceCard({ appliance, machines }: ApplianceCardProps) {
  const { image, name, summary, howToBuild } = appliance;
  const [facts, setFacts] = useState<ApplianceFacts>();
  useEffect(() => {
    const abort = new AbortController();
    void lookAtAppliance(image, abort.signal).then((found) => {
      if (!abort.signal.aborted) setFacts(found);
    });
    return () => abort.abort();
  }, [image]);

  const url = new URL(image, document.baseURI).href;
  const made = machines.some(
    ({ record }) => record.base.source.kind === "url" && record.base.source.url === url,
  );
  const start = () => {
    const link = parseMachineLink(image, document.baseURI);
    if (link.kind !== "image") return;
    // Whoever presses this has the machines made before in the list above, and wants another.
    opener.open({ kind: "image", image: link.image, fresh: true }).catch(() => {});
    goTo(imageHash(link.image, document.baseURI));
  };

  return (
    <li className={styles.card}>
      <div className={styles.picture} aria-hidden="true">
        <span>{name.toLowerCase()}:~# </span>
        <span className={styles.cursor} />
      </div>
      <div className={styles.text}>
        <h3 className={styles.name}>{name}</h3>
        <p className={styles.summary}>{summary}</p>
        <div className={styles.foot}>
          {facts?.state === "absent" ? (
            <p className={styles.absent}>
              Not built yet. On the computer that serves this page, run <code>{howToBuild}</code>.
            </p>
          ) : (
            <>
              <Button look="primary" onPress={start}>
                <Play size={16} aria-hidden="true" />
                {made ? `New ${name}` : `Start ${name}`}
              </Button>
              <p className={styles.facts}>{facts?.state === "ready" && factsLine(facts)}</p>
            </>
          )}
        </div>
      </div>
    </li>
  );
}

function factsLine({ fileBytes }: { fileBytes: number | undefined }): string {
  return fileBytes === undefined ? "" : `at most ${formatBytes(fileBytes)} to fetch`;
}
