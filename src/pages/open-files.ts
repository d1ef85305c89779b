import { goTo } from "../components/page-location.ts";
import { opener } from "../open/opener.ts";

/**
 * Opens dropped or picked files as a machine, and shows that; a machine that waits for a file gets it. Failures are the
 * machine page's to show.
 */
export function openFiles(files: readonly File[]): void {
  const [first] = files;
  if (!first) return;
  const state = opener.state();
  if (state.phase === "asking-file") {
    const { fileName } = state.question;
    state.goOn(files.find(({ name }) => name === fileName) ?? first);
    return;
  }
  opener.open({ kind: "files", files }).catch(() => {});
  goTo("/run");
}
