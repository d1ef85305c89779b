import { goTo } from "../components/page-location.ts";
import { offerFiles } from "../machine-tools/offered-files.ts";
import { opener } from "../open/opener.ts";
import { giveFiles } from "./given-files.ts";

/** What is done with dropped or picked files: a machine that waits for one gets it, one that is on is asked about them. */
export function openFiles(files: readonly File[]): void {
  if (files.length === 0) return;
  const state = opener.state();
  if (state.phase === "asking-file") state.goOn(files);
  else if (!offerFiles(files)) void runOrAsk(files);
}

/** Runs what is a machine, and asks about the rest. What cannot be read is refused by name where it is opened. */
async function runOrAsk(files: readonly File[]): Promise<void> {
  const { kindOfFile } = await import("../open/sort-files.ts");
  const kinds = await Promise.all(files.map(kindOfFile)).catch(() => ["disk"]);
  const on = ["running", "paused"].includes(opener.session()?.state ?? "");
  const fitsDrive = files.length === 1 && !kinds.includes("disk");
  if (kinds.every((kind) => kind === "plain") || (on && fitsDrive)) {
    giveFiles(files);
    goTo("/files");
  } else runFiles(files);
}

/** Opens files as a machine, and shows that. Failures are the machine page's to show. */
export function runFiles(files: readonly File[]): void {
  opener.open({ kind: "files", files }).catch(() => {});
  goTo("/run");
}
