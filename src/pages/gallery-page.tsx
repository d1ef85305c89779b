import { FileUp } from "lucide-react";
import { useCallback, useDeferredValue, useEffect, useState } from "react";
import { Brand } from "../components/brand.tsx";
import { Notice } from "../components/notice.tsx";
import { ThemeButton } from "../components/theme-button.tsx";
import { useAppliances } from "../library/use-appliances.ts";
import { useMachines } from "../library/use-machines.ts";
import { useOpenState } from "../open/use-opener.ts";
import { ApplianceSection } from "./appliance-section.tsx";
import { appliancesToShow, type GalleryOrder, machinesToShow } from "./gallery-order.ts";
import styles from "./gallery-page.module.css";
import { GalleryTools } from "./gallery-tools.tsx";
import { LinkField } from "./link-field.tsx";
import { MachineSection } from "./machine-section.tsx";
import { openFiles } from "./open-files.ts";
import { OpenFilesButton } from "./open-files-button.tsx";
import { usePageTitle } from "./use-page-title.ts";

interface GalleryView {
  readonly typed: string;
  readonly order: GalleryOrder;
}

/** Who comes back from a machine, or from what an appliance says of itself, finds what was searched for. */
let lastView: GalleryView = { typed: "", order: "used" };

export function GalleryPage() {
  usePageTitle("Byre");
  useOpenState();
  const { list: machines, error } = useMachines();
  const { list: appliances, problem, look } = useAppliances();
  const [{ typed, order }, setView] = useState(lastView);
  const show = (change: Partial<GalleryView>) => {
    lastView = { typed, order, ...change };
    setView(lastView);
  };
  const search = useDeferredValue(typed.trim());

  // Names and sizes are in the images: to search or sort by them, all are looked at.
  const needsAll = search !== "" || order !== "used";
  useEffect(() => {
    if (needsAll && appliances) look(appliances.map(({ url }) => url));
  }, [needsAll, appliances, look]);

  const onSeen = useCallback((url: string) => look([url]), [look]);

  return (
    <div className={styles.page}>
      <header className={styles.header}>
        <Brand />
        <ThemeButton />
      </header>
      <main className={styles.main}>
        <div className={styles.intro}>
          <div>
            <h1 className={styles.title}>Machines</h1>
            <p className={styles.lead}>
              Whole PCs that run in this page, each from a single file. What they write stays in this browser.
            </p>
          </div>
          <OpenFilesButton onFiles={openFiles}>
            <FileUp size={17} aria-hidden="true" />
            Open image file
          </OpenFilesButton>
        </div>

        {error && (
          <Notice tone="danger" title="The machines kept in this browser cannot be read">
            <p>{error} A private window or blocked site data may be the reason.</p>
          </Notice>
        )}

        <GalleryTools
          search={typed}
          onSearch={(next) => show({ typed: next })}
          order={order}
          onOrder={(next) => show({ order: next })}
        />
        <MachineSection
          machines={machines}
          shown={machines && machinesToShow(machines, search, order)}
          search={search}
        />
        {/* From the top down, each when what is above it has its height: nothing moves once it is there. */}
        {machines && (
          <ApplianceSection
            appliances={appliances}
            shown={appliances && appliancesToShow(appliances, search, order)}
            search={search}
            problem={problem}
            machines={machines}
            onSeen={onSeen}
          />
        )}
        {machines && appliances && <OwnSection />}
      </main>
    </div>
  );
}

/** What can be done here without an appliance of the list. */
function OwnSection() {
  return (
    <section aria-labelledby="own" className={styles.section}>
      <h2 id="own" className={styles.heading}>
        Run your own
      </h2>
      <ul className={styles.ways}>
        <li>
          <h3 className={styles.way}>A file</h3>
          <p>
            Drop a disk image (.qcow2, .img), a CD image (.iso) or a floppy image on this page. It runs at
            once and is copied into this browser meanwhile; your file is not changed. An image built on
            another one: drop both together.
          </p>
        </li>
        <li>
          <h3 className={styles.way}>A link</h3>
          <p>
            Paste the address of an image here, or anywhere on this page. Only the parts of the disk that are
            used are fetched, if the server answers range requests.
          </p>
          <LinkField />
        </li>
        <li>
          <h3 className={styles.way}>To throw away</h3>
          <p>
            With <code>&amp;ephemeral=1</code> in the link nothing is kept: the machine and all it wrote are
            gone when you leave.
          </p>
        </li>
      </ul>
    </section>
  );
}
