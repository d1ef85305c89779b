import { goTo } from "../components/page-location.ts";
import { opener } from "../open/opener.ts";

/** Opens dropped or picked files as a machine, and shows that. Failures are the machine page's to show. */
export function openFiles(files: readonly File[]): void {
  if (files.length === 0) return;
  opener.open({ kind: "files", files }).catch(() => {});
  goTo("/run");
}
