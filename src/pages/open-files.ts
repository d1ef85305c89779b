import { goTo } from "../components/page-location.ts";
import { offerFiles } from "../machine-tools/offered-files.ts";
import { opener } from "../open/opener.ts";

/** What is done with dropped or picked files: a machine that waits for one gets it, one that is on is asked about them. */
export function openFiles(files: readonly File[]): void {
  const [first] = files;
  if (!first) return;
  const state = opener.state();
  if (state.phase === "asking-file") {
    const { fileName } = state.question;
    state.goOn(files.find(({ name }) => name === fileName) ?? first);
    return;
  }
  if (!offerFiles(files)) runFiles(files);
}

/** Opens files as a machine, and shows that. Failures are the machine page's to show. */
export function runFiles(files: readonly File[]): void {
  opener.open({ kind: "files", files }).catch(() => {});
  goTo("/run");
}
