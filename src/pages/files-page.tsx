import { Disc3, Play } from "lucide-react";
import { useEffect, useState } from "react";
import { Button } from "../components/button.tsx";
import { Buttons } from "../components/buttons.tsx";
import { formatBytes } from "../components/format.ts";
import { Notice } from "../components/notice.tsx";
import { goTo } from "../components/page-location.ts";
import { pathOf } from "../library/import-sources.ts";
import { useAppliances } from "../library/use-appliances.ts";
import { type FilesChoice, filesChoices, insertIntoRunning } from "../machine-tools/insert-files.ts";
import type { MachineSession } from "../open/machine-session.ts";
import { opener } from "../open/opener.ts";
import { startAppliance } from "./appliance-start.ts";
import styles from "./files-page.module.css";
import { applianceName } from "./gallery-order.ts";
import { useGivenFiles } from "./given-files.ts";
import { runFiles } from "./open-files.ts";
import { PageFrame } from "./page-frame.tsx";
import { usePageTitle } from "./use-page-title.ts";

/** A folder may hold thousands. */
const FILES_SHOWN = 20;

/** Files that are no disk to run: what to do with them. */
export function FilesPage() {
  const files = useGivenFiles();
  const [choices, setChoices] = useState<readonly FilesChoice[]>();
  const [failure, setFailure] = useState<string>();
  const { list: appliances, look } = useAppliances();
  const session = runningMachine();
  usePageTitle("Your files - Byre");
  useEffect(() => {
    // There is nothing to be asked about after a reload: a page is given files anew each time.
    if (files.length === 0) goTo("/", { replace: true });
    filesChoices(files).then(setChoices, () => {});
  }, [files]);
  useEffect(() => look(appliances?.map(({ url }) => url) ?? []), [appliances, look]);
  if (files.length === 0 || !choices) return null;

  const [first] = files;
  const several = files.length > 1;
  const it = several ? "them" : "it";
  const title = several ? `${files.length} files` : first?.name;
  const insert = choices.find((choice) => choice !== "machine");
  const give = async (machine: MachineSession) => {
    if (!insert) return;
    try {
      await insertIntoRunning(machine, files, insert);
      goTo(machine.id ? `/machine/${machine.id}` : "/run");
    } catch (error) {
      setFailure(error instanceof Error ? error.message : String(error));
    }
  };
  const others = files.length - FILES_SHOWN;
  return (
    <PageFrame title={title}>
      <p>
        {choices.includes("machine")
          ? "This can be put into the machine that is on in this tab, or be a machine of its own."
          : `${several ? "These are no images" : "This is no image"} that a machine could be made of. A machine can have ${it} on a CD, to read from: in Linux, "mount /dev/sr0 /mnt" shows what is on it.`}
      </p>
      {several && (
        <ul className={styles.files}>
          {files.slice(0, FILES_SHOWN).map((file) => (
            <li key={pathOf(file)} className={styles.file}>
              <span>{pathOf(file)}</span>
              <span>{formatBytes(file.size)}</span>
            </li>
          ))}
          {others > 0 && <li>and {others} more</li>}
        </ul>
      )}
      {failure && (
        <Notice tone="danger">
          <p>{failure}</p>
        </Notice>
      )}
      <Buttons>
        {session && insert && (
          <Button look="primary" onPress={() => give(session)}>
            <Disc3 size={16} aria-hidden="true" />
            {insert === "floppy" ? `Insert into ${session.name}` : `Give to ${session.name} on a CD`}
          </Button>
        )}
        {choices.includes("machine") && (
          <Button onPress={() => runFiles(files)}>
            <Play size={16} aria-hidden="true" />
            Run as a machine
          </Button>
        )}
        {choices.includes("files") &&
          appliances?.map((appliance) => (
            <Button
              key={appliance.url}
              look={session ? "plain" : "primary"}
              onPress={() => startAppliance(appliance.url, files)}
            >
              <Play size={16} aria-hidden="true" />
              Start {applianceName(appliance)} with {it}
            </Button>
          ))}
        <Button look="quiet" onPress={() => goTo("/")}>
          All machines
        </Button>
      </Buttons>
    </PageFrame>
  );
}

/** The machine of this tab, if it is on. */
function runningMachine(): MachineSession | undefined {
  const session = opener.session();
  return session && ["running", "paused"].includes(session.state) ? session : undefined;
}
