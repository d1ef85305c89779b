import { FileUp } from "lucide-react";
import { FileTrigger } from "react-aria-components/FileTrigger";
import { Brand } from "../components/brand.tsx";
import { Button } from "../components/button.tsx";
import { Notice } from "../components/notice.tsx";
import { ThemeButton } from "../components/theme-button.tsx";
import { APPLIANCES } from "../library/appliance-list.ts";
import { useMachines } from "../library/use-machines.ts";
import { useOpenState } from "../open/use-opener.ts";
import { ApplianceCard } from "./appliance-card.tsx";
import styles from "./gallery-page.module.css";
import { MachineRow } from "./machine-row.tsx";
import { openFiles } from "./open-files.ts";
import { StorageLine } from "./storage-line.tsx";
import { usePageTitle } from "./use-page-title.ts";

export function GalleryPage() {
  usePageTitle("Byre");
  useOpenState();
  const { list, error } = useMachines();
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
              PCs that run in this page, from qcow2 disk images. What they write stays in this browser.
            </p>
          </div>
          <FileTrigger allowsMultiple onSelect={(files) => files && openFiles([...files])}>
            <Button>
              <FileUp size={17} aria-hidden="true" />
              Open image file
            </Button>
          </FileTrigger>
        </div>

        {error && (
          <Notice tone="danger" title="The machines kept in this browser cannot be read">
            <p>{error} A private window or blocked site data may be the reason.</p>
          </Notice>
        )}

        <section aria-labelledby="machines" className={styles.section}>
          <h2 id="machines" className={styles.heading}>
            Yours
          </h2>
          {list && list.length > 0 ? (
            <>
              <ul className={styles.rows}>
                {list.map((machine) => (
                  <MachineRow key={machine.record.id} {...machine} />
                ))}
              </ul>
              <StorageLine storedBytes={list.reduce((total, { storedBytes }) => total + storedBytes, 0)} />
            </>
          ) : (
            <div className={styles.empty} aria-busy={list === undefined}>
              {list && (
                <>
                  <p className={styles.emptyTitle}>None yet</p>
                  <p>
                    Start an appliance below, or drop a .qcow2 file anywhere on this page. Its disk is kept
                    here, so you find everything as you left it.
                  </p>
                </>
              )}
            </div>
          )}
        </section>

        <section aria-labelledby="appliances" className={styles.section}>
          <h2 id="appliances" className={styles.heading}>
            Appliances
          </h2>
          <ul className={styles.cards}>
            {APPLIANCES.map((appliance) => (
              <ApplianceCard key={appliance.image} appliance={appliance} machines={list ?? []} />
            ))}
          </ul>
        </section>

        <section aria-labelledby="own" className={styles.section}>
          <h2 id="own" className={styles.heading}>
            Run your own
          </h2>
          <ul className={styles.ways}>
            <li>
              <h3 className={styles.way}>A file</h3>
              <p>
                Drop a .qcow2 on this page. It is copied into this browser and runs from there; your file is
                not changed. An image built on another one: drop both together.
              </p>
            </li>
            <li>
              <h3 className={styles.way}>A link</h3>
              <p>
                Add <code>#/run?image=URL</code> to this page's address. Only the parts of the disk that are
                used are fetched, if the server answers range requests.
              </p>
            </li>
            <li>
              <h3 className={styles.way}>To throw away</h3>
              <p>
                With <code>&amp;ephemeral=1</code> in the link nothing is kept: the machine and all it wrote
                are gone when you leave.
              </p>
            </li>
          </ul>
        </section>
      </main>
    </div>
  );
}
