import type { ReactNode } from "react";
import { formatBytes } from "../components/format.ts";
import type { ApplianceDescription } from "./appliance-description.ts";
import styles from "./appliance-facts-view.module.css";
import { ApplianceIcon } from "./appliance-icon.tsx";
import { WebLink } from "./web-link.tsx";

/** Where an appliance comes from. */
export type ApplianceOrigin =
  /** Absolute. */
  { readonly kind: "url"; readonly url: string } | { readonly kind: "file"; readonly name: string };

export interface ApplianceFactsViewProps {
  description: ApplianceDescription;
  origin: ApplianceOrigin;
  /** Undefined where nobody says. */
  fileBytes: number | undefined;
  diskBytes: number;
  /** It goes on from a saved state instead of booting. */
  startsAtOnce: boolean;
  /** The image that it is built on, by the name it states. */
  backingName?: string | undefined;
  /** Further rows: `Fact`s. */
  children?: ReactNode;
}

/** What an appliance is, before anything of it runs: where from, how large, under which licence. */
export function ApplianceFactsView(props: ApplianceFactsViewProps) {
  const { description, origin, fileBytes, diskBytes, startsAtOnce, backingName, children } = props;
  const { summary, vendor, version, licence, homepage, memoryMiB, snapshot } = description;
  const fetched =
    origin.kind === "url" ? `at most ${size(fileBytes)}; only what is used is fetched` : size(fileBytes);
  return (
    <>
      {summary && (
        <p className={styles.summary} dir="auto">
          {summary}
        </p>
      )}
      <dl className={styles.facts}>
        <Fact name="From">
          {origin.kind === "url" ? <Address url={origin.url} /> : `your file ${origin.name}`}
        </Fact>
        {vendor && <Fact name="Made by">{vendor}</Fact>}
        {version && <Fact name="Version">{version}</Fact>}
        <Fact name={origin.kind === "url" ? "To fetch" : "File"}>
          {fileBytes === undefined ? "its server does not say how much" : fetched}
        </Fact>
        <Fact name="Disk">{formatBytes(diskBytes)}, as the machine sees it</Fact>
        {memoryMiB !== undefined && <Fact name="Memory">{formatBytes(memoryMiB * 1024 * 1024)}</Fact>}
        <Fact name="Starts">
          {startsAtOnce
            ? `at once, from its saved state “${snapshot}”`
            : "by booting, as a PC that is switched on"}
        </Fact>
        <Fact name="Licence">{licence ? licence.title : "it names none"}</Fact>
        {homepage && (
          <Fact name="Home page">
            <WebLink url={homepage}>{homepage}</WebLink>
          </Fact>
        )}
        {backingName && <Fact name="Built on">{backingName}, from the same place</Fact>}
        {children}
      </dl>
    </>
  );
}

/** Icon and name, for a page's title. */
export function ApplianceTitle({ icon, name }: { icon: ApplianceDescription["icon"]; name: string }) {
  return (
    <span className={styles.title}>
      <ApplianceIcon icon={icon} name={name} />
      <span dir="auto">{name}</span>
    </span>
  );
}

/** One row of such a list. */
export function Fact({ name, children }: { name: string; children: ReactNode }) {
  return (
    <div className={styles.fact}>
      <dt className={styles.term}>{name}</dt>
      <dd className={styles.value} dir="auto">
        {children}
      </dd>
    </div>
  );
}

/** An address, the site first: it is what a person can judge. */
export function Address({ url }: { url: string }) {
  const { host, href } = new URL(url);
  return (
    <>
      <b>{host}</b>
      <br />
      <bdo dir="ltr" className={styles.address}>
        {href}
      </bdo>
    </>
  );
}

function size(bytes: number | undefined): string {
  return bytes === undefined ? "" : formatBytes(bytes);
}
