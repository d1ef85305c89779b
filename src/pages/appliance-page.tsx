import { Play, Share2 } from "lucide-react";
import { type ReactNode, useEffect, useId, useState } from "react";
import {
  ApplianceFactsView,
  type ApplianceOrigin,
  ApplianceTitle,
} from "../appliance/appliance-facts-view.tsx";
import { LicenceText } from "../appliance/licence-text.tsx";
import { MarkdownText } from "../appliance/markdown-text.tsx";
import { MetadataList } from "../appliance/metadata-list.tsx";
import { Button } from "../components/button.tsx";
import { Buttons } from "../components/buttons.tsx";
import { late } from "../components/late.tsx";
import { Notice } from "../components/notice.tsx";
import { goTo } from "../components/page-location.ts";
import {
  type ApplianceFacts,
  type PresentAppliance,
  readApplianceFacts,
} from "../library/appliance-facts.ts";
import styles from "./appliance-page.module.css";
import { imageOfHash, isOwnFile, startAppliance } from "./appliance-start.ts";
import { applianceName } from "./gallery-order.ts";
import { PageFrame } from "./page-frame.tsx";
import { usePageTitle } from "./use-page-title.ts";

const ShareImage = late(async () => (await import("../share/share-image.tsx")).ShareImage);

/**
 * All that an appliance says of itself, before anything of it runs.
 *
 * @param location what stands after `#`.
 */
export function AppliancePage({ location }: { location: string }) {
  const url = imageOfHash(location);
  const [facts, setFacts] = useState<ApplianceFacts>();
  useEffect(() => {
    setFacts(undefined);
    if (url === undefined) return;
    const abort = new AbortController();
    readApplianceFacts(url, abort.signal).then(setFacts, () => {});
    return () => abort.abort();
  }, [url]);
  usePageTitle(`${url === undefined ? "Appliance" : nameOf(url, facts)} - Byre`);

  if (url === undefined) {
    return (
      <PageFrame title="This address names no image">
        <p>It should look like #/appliance?image=URL, with the http or https address of a disk image.</p>
        <AllMachines />
      </PageFrame>
    );
  }
  if (facts === undefined) return <PageFrame title={nameOf(url, facts)}>{null}</PageFrame>;
  if (facts.state !== "present") {
    return (
      <PageFrame title={nameOf(url, facts)}>
        <Notice tone="caution" title="There is nothing to start here">
          <p>{facts.message}</p>
          <p className={styles.address}>{url}</p>
          {facts.state === "absent" && isOwnFile(url) && (
            <p>
              Where this page is run from its source, <code>npm start</code> builds it.
            </p>
          )}
        </Notice>
        <AllMachines />
      </PageFrame>
    );
  }
  return <Present url={url} facts={facts} />;
}

function Present({ url, facts }: { url: string; facts: PresentAppliance }) {
  const { description, metadata, problem } = facts;
  const { licence, message } = description;
  const origin: ApplianceOrigin = { kind: "url", url };
  const [sharing, setSharing] = useState(false);
  const shareId = useId();
  const name = nameOf(url, facts);
  return (
    <PageFrame title={<ApplianceTitle icon={description.icon} name={name} />}>
      <Buttons>
        <Button look="primary" onPress={() => startAppliance(url)}>
          <Play size={16} aria-hidden="true" />
          Start
        </Button>
        <Button
          aria-expanded={sharing}
          {...(sharing && { "aria-controls": shareId })}
          onPress={() => setSharing(!sharing)}
        >
          <Share2 size={16} aria-hidden="true" />
          Share
        </Button>
        <AllMachines />
      </Buttons>
      {sharing && (
        <div id={shareId}>
          <Part title="Share">
            <ShareImage image={{ url, drives: {}, snapshot: undefined }} name={name} />
          </Part>
        </div>
      )}
      {problem && <Notice tone="caution">{problem}</Notice>}
      <ApplianceFactsView {...facts} origin={origin} />
      {message && (
        <Part title="To begin with">
          <MarkdownText text={message} headingLevel={3} />
        </Part>
      )}
      {licence?.text && (
        <Part title={licence.title}>
          <LicenceText title={licence.title} text={licence.text} />
        </Part>
      )}
      {metadata.size > 0 && (
        <details className={styles.all}>
          <summary className={styles.summary}>Everything this image says of itself</summary>
          <MetadataList metadata={metadata} />
        </details>
      )}
    </PageFrame>
  );
}

function Part({ title, children }: { title: string; children: ReactNode }) {
  return (
    <section className={styles.part}>
      <h2 className={styles.heading} dir="auto">
        {title}
      </h2>
      {children}
    </section>
  );
}

function AllMachines() {
  return (
    <div>
      <Button onPress={() => goTo("/")}>All machines</Button>
    </div>
  );
}

function nameOf(url: string, facts: ApplianceFacts | undefined): string {
  const name = facts?.state === "present" ? facts.description.name : undefined;
  return name ?? applianceName({ url, facts: undefined });
}
