import { useEffect, useMemo, useState } from "react";
import { type ListedFacts, listedFacts } from "./appliance-facts.ts";
import { type ApplianceList, fetchApplianceList } from "./appliance-list.ts";
import { createFactsQueue } from "./facts-queue.ts";

/** An appliance of the catalogue. */
export interface ApplianceListing {
  readonly url: string;
  /** Undefined until it was looked at. */
  readonly facts: ListedFacts | undefined;
}

export interface Appliances {
  /** In the catalogue's order; undefined until it was read. */
  readonly list: readonly ApplianceListing[] | undefined;
  /** Why there are none, or fewer than the catalogue has. */
  readonly problem: string | undefined;
  /** Looks at appliances: what is on the screen, or all when they are searched. */
  look(urls: readonly string[]): void;
}

/** What was found stays known while the page is open; what was missing is looked for again. */
const known = new Map<string, ListedFacts>();
/** The catalogue as it was read last: who comes back to the gallery finds it as it was, and then as it is. */
let lastCatalog: ApplianceList | undefined;

/** The appliances of this site's catalogue, and what the images say of themselves as far as they were looked at. */
export function useAppliances(): Appliances {
  const [catalog, setCatalog] = useState(lastCatalog);
  const [facts, setFacts] = useState<ReadonlyMap<string, ListedFacts>>(() => new Map(known));
  const [queue, setQueue] = useState<ReturnType<typeof createFactsQueue>>();
  useEffect(() => {
    const abort = new AbortController();
    setQueue(
      createFactsQueue((url, found) => {
        const listed = listedFacts(found);
        if (listed.state === "present") known.set(url, listed);
        setFacts((before) => new Map(before).set(url, listed));
      }, abort.signal),
    );
    fetchApplianceList(document.baseURI, abort.signal).then(
      (list) => {
        lastCatalog = list;
        setCatalog(list);
      },
      // Called off: the gallery is gone.
      () => {},
    );
    return () => abort.abort();
  }, []);
  const list = useMemo(() => catalog?.urls.map((url) => ({ url, facts: facts.get(url) })), [catalog, facts]);
  const look = useMemo(
    () => (urls: readonly string[]) => {
      for (const url of urls) if (!known.has(url)) queue?.look(url);
    },
    [queue],
  );
  return { list, problem: catalog?.problem, look };
}
